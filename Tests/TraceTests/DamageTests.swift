import TestSupport
import Testing
import ZFile

@testable import Trace

@Suite("Damaged traces of Warmblk")
struct DamageTests {
  private let golden = AccessTraceTests.golden

  private func error(of bytes: [UInt8]) -> TraceError? {
    do throws(TraceError) {
      _ = try AccessTraceTests.parse(bytes)
      return nil
    } catch { return error }
  }

  @Test("a trace that was cut anywhere, or grew, is refused")
  func cut() {
    for length in 0..<golden.count {
      let error = error(of: Array(golden[..<length]))
      switch length {
      case 0..<8: #expect(error == .notAccessTrace)
      case 8..<80: #expect(error == .headerTruncated(found: length, expected: 80))
      default: #expect(error == .bodySizeMismatch(found: UInt64(length - 80), expected: UInt64(golden.count - 80)))
      }
    }
    #expect(
      error(of: golden + [0])
        == .bodySizeMismatch(found: UInt64(golden.count - 79), expected: UInt64(golden.count - 80)))
  }

  @Test("every flipped bit is found")
  func flippedBits() {
    for bit in 0..<golden.count * 8 {
      var bytes = golden
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      switch (bit / 8, error(of: bytes)) {
      case (0..<8, .notAccessTrace?), (8..<12, .unsupportedVersion?), (12..<80, .headerChecksumMismatch?),
        (80..., .bodyChecksumMismatch?):
        break
      case (let byte, let error): Issue.record("bit \(bit % 8) of byte \(byte): \(String(describing: error))")
      }
    }
  }

  @Test("bodies of random damage with right checksums are refused or mean something that is written as the same bytes")
  func repaired() throws {
    var random = SplitMix.announced("damaged traces")
    var accepted = 0
    for _ in 0..<20_000 {
      var bytes = golden
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 16..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[place] = 0xFF
        case 2 where place >= 80: bytes.remove(at: place)
        default: if place >= 80 { bytes.insert(UInt8.random(in: 0...255, using: &random), at: place) }
        }
      }
      bytes = Self.withChecksums(bytes)
      do throws(TraceError) {
        let trace = try AccessTraceTests.parse(bytes)
        #expect(try trace.encoded() == bytes)
        accepted += 1
      } catch {
        #expect(!error.description.isEmpty)
      }
    }
    #expect(accepted > 100)
  }

  @Test("what a header or an access claims beyond the limits is refused before memory is taken for it")
  func limits() {
    func header(_ offset: Int, _ value: [UInt8]) -> TraceError? {
      var bytes = golden
      bytes.replaceSubrange(offset..<offset + value.count, with: value)
      return error(of: Self.withChecksums(bytes))
    }
    #expect(header(44, [1, 16, 0, 0]) == .tooMany("layers", count: 4097, limit: 4096))
    #expect(header(48, [1, 0, 0, 1]) == .tooMany("accesses", count: 0x1000001, limit: 1 << 24))
    #expect(
      header(48, [0xFF, 0xFF, 0xFF]) == .malformed(offset: 48, problem: "16777215 accesses do not fit into 72 bytes"))
    #expect(header(40, [0, 0, 0, 0]) == .malformed(offset: 40, problem: "it is of 0 runs"))
    #expect(header(16, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]) == .invalidSize(of: "the disk", .max))
    #expect(header(12, [81]) != nil && header(70, [1]) != nil)
  }

  /// The same bytes as a writer would have ended them.
  static func withChecksums(_ damaged: [UInt8]) -> [UInt8] {
    var bytes = damaged
    func store(_ value: UInt64, _ count: Int, at offset: Int) {
      for i in 0..<count { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> UInt64(8 * i)) }
    }
    store(UInt64(bytes.count - 80), 8, at: 56)
    let body = bytes[80...].withUnsafeBytes { crc32c($0) }
    store(UInt64(body), 4, at: 64)
    let header = bytes[..<76].withUnsafeBytes { crc32c($0) }
    store(UInt64(header), 4, at: 76)
    return bytes
  }

  @Test("10 million accesses are written and read")
  func tenMillion() throws {
    var accesses: [TraceAccess] = []
    accesses.reserveCapacity(10_000_000)
    var state: UInt64 = 1
    for number in 0..<UInt64(10_000_000) {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let block = state >> 40
      accesses.append(
        TraceAccess(
          microseconds: number, device: block * 4096..<block * 4096 + 4096, layer: 0,
          stored: block * 2000..<block * 2000 + 2000))
    }
    let trace = AccessTrace(
      imageName: "large", deviceSize: 1 << 40,
      layers: [TraceLayer(identity: "sha256:a", size: 1 << 40, isCompressed: true)], accesses: accesses)
    let bytes = try trace.encoded()
    #expect(bytes.count < 200_000_000)
    #expect(try AccessTraceTests.parse(bytes) == trace)
  }
}
