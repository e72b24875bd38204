import Foundation
import Testing

@testable import Trace

@Suite("Traces of overlaybd")
struct OverlaybdTraceTests {
  /// Two records: 4096 bytes at 0 of layer 0, 131072 bytes at 0x123000 of layer 3.
  static let example: [UInt8] = [
    0x20, 0x18, 0xEF, 0xC2, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0x59, 0x37, 0x33, 0x4A, 0, 0, 0, 0,
    0x52, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0x52, 0, 0, 0, 3, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x30, 0x12, 0, 0, 0, 0, 0,
  ]

  private static let fixtures =
    ProcessInfo.processInfo.environment["WARMBLK_FIXTURES"]
    ?? URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "../shared/fixtures").standardizedFileURL.path
  private static let fixture = FileManager.default.contents(atPath: "\(fixtures)/trace/t1.trace")

  private func parse(_ bytes: [UInt8]) throws(TraceError) -> OverlaybdTrace {
    try OverlaybdTrace(parsing: bytes.span.bytes)
  }

  private func isTrace(_ bytes: [UInt8]) -> Bool { OverlaybdTrace.isTrace(prefix: bytes.span.bytes) }

  @Test("the format's example parses")
  func example() throws {
    #expect(isTrace(Self.example))
    #expect(
      try parse(Self.example).records == [
        .init(operation: .read, layer: 0, offset: 0, count: 4096),
        .init(operation: .read, layer: 3, offset: 0x123000, count: 131_072),
      ])
  }

  @Test(
    "a trace of overlaybd's recorder parses, junk in its padding and all",
    .enabled(
      if: fixture != nil,
      "needs the fixtures of overlaybd's tools: set WARMBLK_FIXTURES, or have them in ../shared/fixtures"))
  func recorded() throws {
    let records = try parse([UInt8](try #require(Self.fixture))).records
    #expect(records.map(\.layer) == [0, 0, 1, 2, 255, 0, 1])
    #expect(records.map(\.count) == [4096, 1_048_576, 512, 131_072, 65536, 8192, 4096])
    #expect(
      records.map(\.offset) == [0, 4096, 512, 1_073_741_824, 68_719_476_736, 123_456_512, 999_999_999_488])
    #expect(records.allSatisfy { $0.operation == .read })
  }

  @Test("the format's example is written byte for byte")
  func encoding() throws {
    #expect(try parse(Self.example).encoded() == Self.example)
    #expect(OverlaybdTrace(records: []).encoded().count == 24)
  }

  @Test(
    "a trace of overlaybd's recorder is written again byte for byte, with zeroes for the junk in its padding",
    .enabled(
      if: fixture != nil,
      "needs the fixtures of overlaybd's tools: set WARMBLK_FIXTURES, or have them in ../shared/fixtures"))
  func recordedAgain() throws {
    var expected = [UInt8](try #require(Self.fixture))
    let found = try parse(expected).encoded()
    for record in stride(from: 24, to: expected.count, by: 24) {
      expected.replaceSubrange(record + 1..<record + 4, with: [0, 0, 0])
    }
    // The CRC covers the padding.
    expected.replaceSubrange(16..<20, with: found[16..<20])
    expected.replaceSubrange(20..<24, with: [0, 0, 0, 0])
    expected.replaceSubrange(4..<8, with: [0, 0, 0, 0])
    #expect(found == expected)
    #expect(try parse(found) == parse([UInt8](try #require(Self.fixture))))
  }

  @Test("no record of more than 1 MiB is written: overlaybd would overrun its buffer")
  func longRecords() throws {
    let long = OverlaybdTrace(records: [
      .init(layer: 1, offset: 4096, count: 5 << 20), .init(layer: 2, offset: 0, count: (1 << 20) + 1),
    ])
    let records = try parse(long.encoded()).records
    #expect(records.allSatisfy { $0.count <= 1 << 20 } && records.count == 7)
    #expect(records.reduce(0) { $0 + $1.count } == (6 << 20) + 1)
    #expect(records[4] == .init(layer: 1, offset: 4096 + (4 << 20), count: 1 << 20))
    #expect(records[6] == .init(layer: 2, offset: 1 << 20, count: 1))
  }

  @Test("a trace without records is a trace")
  func empty() throws {
    var bytes = Array(Self.example[..<24])
    bytes.replaceSubrange(8..<24, with: [UInt8](repeating: 0, count: 16))
    #expect(try parse(bytes).records.isEmpty)
  }

  @Test("anything else is no trace", arguments: [0, 3, 23])
  func notTrace(length: Int) {
    let bytes = Array(Self.example[..<length])
    #expect(!isTrace(bytes))
    #expect(throws: TraceError.notTrace) { try parse(bytes) }
    #expect(throws: TraceError.notTrace) { try parse(Array("/usr/bin/python3\n/usr/lib/libc.so.6\n".utf8)) }
  }

  @Test("a trace that was cut off or grew is refused")
  func wrongSize() {
    for length in 24..<72 {
      #expect(throws: TraceError.sizeMismatch(found: UInt64(length - 24), expected: 48)) {
        try parse(Array(Self.example[..<length]))
      }
    }
    #expect(throws: TraceError.sizeMismatch(found: 49, expected: 48)) { try parse(Self.example + [0]) }
    var huge = Self.example
    huge.replaceSubrange(8..<16, with: [UInt8](repeating: 0xFF, count: 8))
    #expect(throws: TraceError.sizeMismatch(found: 48, expected: .max)) { try parse(huge) }
    var partial = Array(Self.example.dropLast())
    partial[8] = 47
    #expect(throws: TraceError.partialRecord(size: 47)) { try parse(partial) }
  }

  @Test("every flipped bit of a record is found")
  func flippedBits() {
    for bit in 24 * 8..<72 * 8 {
      var bytes = Self.example
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      #expect(throws: TraceError.self, "bit \(bit)") { try parse(bytes) }
    }
  }

  @Test("a range that no file can have is refused though the CRC is right")
  func invalidRange() {
    var bytes = Self.example
    bytes[71] = 0x80
    // The CRC of these bytes, taken from the error that the wrong one gives.
    guard case .checksumMismatch(let found, _)? = error(of: bytes) else {
      Issue.record("the CRC does not cover the last byte")
      return
    }
    for i in 0..<4 { bytes[16 + i] = UInt8(truncatingIfNeeded: found >> (8 * UInt32(i))) }
    #expect(error(of: bytes) == .invalidRange(record: 1, offset: Int64.min + 0x123000, count: 131_072))
  }

  private func error(of bytes: [UInt8]) -> TraceError? {
    do throws(TraceError) {
      _ = try parse(bytes)
      return nil
    } catch { return error }
  }
}
