import CCodecs
import Foundation
import Testing

@testable import ZFile

@Suite("CRC-32C without inversions")
struct CRC32CTests {
  private static let digits = Array("123456789".utf8)

  @Test("gives the format's vectors", arguments: [(UInt32(0), UInt32(0x58E3_FA20)), (100_007, 0x3C9B_D4E0)])
  func vectors(seed: UInt32, expected: UInt32) {
    Self.digits.withUnsafeBytes {
      #expect(crc32cRaw($0, seed: seed) == expected)
      #expect(crc32cByTable($0, seed: seed) == expected)
    }
  }

  @Test("becomes the ordinary CRC-32C when inverted before and after")
  func ordinary() {
    Self.digits.withUnsafeBytes { #expect(~crc32cRaw($0, seed: ~0) == 0xE306_9283) }
  }

  @Test("keeps the seed when there is nothing to sum up")
  func empty() {
    #expect(crc32cRaw(UnsafeRawBufferPointer(start: nil, count: 0), seed: 42) == 42)
  }

  #if arch(x86_64)
    @Test("uses this processor's instructions if the kernel lists them")
    func hardware() throws {
      let information = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
      let flags = try #require(information.split(separator: "\n").first { $0.hasPrefix("flags") }).split(
        separator: " ")
      #expect((ccodecs_has_crc32c() != 0) == (flags.contains("sse4_2") && flags.contains("pclmulqdq")))
    }
  #endif

  @Test("is the same by instruction and by table, for every length up to 1100 and at every alignment")
  func allLengths() {
    var random = Seeded(1)
    let bytes = random.bytes(1200)
    bytes.withUnsafeBytes { bytes in
      for length in 0...1100 {
        let seed = UInt32(truncatingIfNeeded: random.next())
        let part = UnsafeRawBufferPointer(rebasing: bytes[(length % 16)..<(length % 16 + length)])
        #expect(crc32cRaw(part, seed: seed) == crc32cByTable(part, seed: seed), "\(length) bytes")
      }
    }
  }

  @Test("is the same by instruction and by table, for random long inputs and however it is split")
  func longInputs() {
    var random = Seeded(2)
    let bytes = random.bytes(80_000)
    bytes.withUnsafeBytes { bytes in
      for _ in 0..<100 {
        let start = Int.random(in: 0..<64, using: &random)
        let length = Int.random(in: 1000...70_000, using: &random)
        let cut = start + Int.random(in: 0...length, using: &random)
        let expected = crc32cByTable(
          UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]), seed: 100_007)
        let first = crc32cRaw(UnsafeRawBufferPointer(rebasing: bytes[start..<cut]), seed: 100_007)
        let both = crc32cRaw(UnsafeRawBufferPointer(rebasing: bytes[cut..<start + length]), seed: first)
        #expect(both == expected, "\(length) bytes from \(start), cut at \(cut)")
      }
    }
  }

  @Test("is the same by instruction and by table around the longest streams", arguments: 3050...3120)
  func streamEdge(length: Int) {
    var random = Seeded(3)
    random.bytes(length).withUnsafeBytes {
      #expect(crc32cRaw($0, seed: 7) == crc32cByTable($0, seed: 7))
    }
  }
}
