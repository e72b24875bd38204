import Foundation
import LSMT
import Posix
import TestSupport
import Testing

@testable import UpperLayer

@Suite(
  "Writable layers that overlaybd wrote",
  .enabled(if: Fixtures.isPresent, "no fixtures: set WARMBLK_FIXTURES to the folder that has them"))
struct FixtureTests {
  /// A copy of an append-only layer of the fixtures, to write to.
  private func copy(_ name: String) throws -> Place {
    let place = try Place()
    try place.scratch.write("data", Fixtures.bytes(name + ".data"))
    try place.scratch.write("index", Fixtures.bytes(name + ".index"))
    return place
  }

  private func sha256(of upper: Upper, _ place: Place) throws -> String {
    let image = try Descriptor.open(place.scratch("image"), O_RDWR | O_CREAT | O_TRUNC)
    let step: UInt64 = 2048
    for sector in stride(from: 0, to: upper.virtualSize / 512, by: Int(step)) {
      let bytes = try read(upper, sector: sector, sectors: step)
      try bytes.withUnsafeBytes { try image.writeFully($0, at: sector * 512) }
    }
    return String(decoding: try runProgram(["sha256sum", place.scratch("image")]).prefix(64), as: UTF8.self)
  }

  @Test("An append-only one opens and has the expected bytes, and is not changed by that")
  func opens() throws {
    let place = try copy("upper/up")
    let upper = try place.open()
    #expect(upper.recovery.isClean)
    #expect(upper.virtualSize == 64 << 20)
    let expected = String(decoding: try Fixtures.bytes("upper/expected.up1.img.sha256").prefix(64), as: UTF8.self)
    #expect(try sha256(of: upper, place) == expected)
    try upper.close()
    #expect(try readFile(place.files.data) == (try Fixtures.bytes("upper/up.data")))
    #expect(try readFile(place.files.index) == (try Fixtures.bytes("upper/up.index")))
  }

  @Test("One with the padding of group commit opens as its entries say", arguments: ["lsmt/l0", "lsmt/l1", "lsmt/l2"])
  func groupCommit(name: String) throws {
    let place = try copy(name)
    let upper = try place.open()
    #expect(upper.recovery.isClean)
    let bytes = try Fixtures.bytes(name + ".index")
    let log = try decodeIndexLog(bytes.span.bytes)
    for segment in log.replayed() {
      for sector in segment.offset..<segment.end {
        let piece = upper.index.view.piece(at: sector, limit: 1)
        #expect(piece.kind == (segment.isZeroed ? .zeroes : .data))
        if !segment.isZeroed { #expect(piece.blobSector == segment.moffset + sector - segment.offset) }
      }
    }
    try upper.close()
  }

  @Test("What is written to one is there beside what overlaybd had written, by the rules of overlaybd")
  func writes() throws {
    let place = try copy("upper/up")
    let upper = try place.open()
    let old = try read(upper, sector: 50000, sectors: 304)
    try upper.write([(50100, sectorsBytes(50100, 8, 7))])
    try upper.zero(sector: 50200, sectors: 4, keepsSpace: false)
    try upper.close()
    #expect(strictComplaint(data: try readFile(place.files.data), index: try readFile(place.files.index)) == nil)
    var expected = old
    expected.replaceSubrange(100 * 512..<108 * 512, with: sectorsBytes(50100, 8, 7))
    expected.replaceSubrange(200 * 512..<204 * 512, with: [UInt8](repeating: 0, count: 2048))
    let again = try place.open()
    #expect(again.recovery.isClean)
    #expect(try read(again, sector: 50000, sectors: 304) == expected)
    try again.close()
  }
}
