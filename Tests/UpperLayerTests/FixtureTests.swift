import CLinux
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

  /// The sparse layer of the fixtures with its holes, made for l0, l1 and l2, and what a device with all of them has.
  private func sparse() throws -> (Place, expected: [UInt8]) {
    let place = try Place()
    try runProgram(["tar", "-xSf", Fixtures.folder + "/upper/sparse.tar.zst", "-C", place.scratch.path])
    try runProgram(["find", place.scratch.path, "-name", "sp.data", "-exec", "mv", "{}", place.files.data, ";"])
    try place.scratch.write("index", Fixtures.bytes("upper/sp.index"))
    let image = place.scratch("expected")
    try runProgram(["zstd", "-qdfo", image, Fixtures.folder + "/upper/expected.sp.reopen.img.zst"])
    return (place, try readFile(image, limit: 1 << 27))
  }

  /// What a device has that shows `expected` where the layer maps nothing.
  private func contents(_ upper: Upper, over expected: [UInt8]) throws -> [UInt8] {
    var result = expected
    for segment in upper.index.segments() {
      result.replaceSubrange(
        Int(segment.offset) * 512..<Int(segment.end) * 512,
        with: try read(upper, sector: segment.offset, sectors: UInt64(segment.length)))
    }
    return result
  }

  @Test("A sparse one opens as its holes say, and is not changed by that")
  func opensSparse() throws {
    let (place, expected) = try sparse()
    let before = try readFile(place.files.data, limit: 1 << 27)
    let upper = try place.open()
    #expect(upper.kind == .sparse && upper.recovery.isClean && upper.virtualSize == UInt64(expected.count))
    #expect(upper.index.dataSectors > 0 && upper.index.dataSectors < upper.virtualSize / 1024)
    #expect(try contents(upper, over: expected) == expected)
    try upper.close()
    #expect(try readFile(place.files.data, limit: 1 << 27) == before)
  }

  @Test(
    "What is written to a sparse one, also in parts of blocks, leaves the rest, and is where overlaybd looks for it")
  func writesSparse() throws {
    var (place, expected) = try sparse()
    let all = expected
    let lowers = LowerLayers(
      shown: { $0 }, stored: { $0 },
      read: { sector, buffer throws(Errno) in
        buffer.copyBytes(from: all[Int(sector) * 512..<Int(sector) * 512 + buffer.count])
      })
    let upper = try Upper.open(
      place.files, pendingFolder: place.pending, defaultVirtualSize: 0, parentUUID: nil, lowers: lowers)
    var random = SplitMix.announced("writes to an upper of overlaybd")
    for number in 0..<60 {
      let sector = Int.random(in: 0..<expected.count / 512 - 40, using: &random)
      let count = Int.random(in: 1...40, using: &random)
      var bytes = [UInt8](repeating: 0, count: count * 512)
      if number % 3 == 0 {
        try upper.zero(sector: UInt64(sector), sectors: UInt64(count), keepsSpace: number % 2 == 0)
      } else {
        bytes = sectorsBytes(UInt64(sector), UInt64(count), UInt64(number))
        try upper.write([(UInt64(sector), bytes)])
      }
      expected.replaceSubrange(sector * 512..<(sector + count) * 512, with: bytes)
    }
    #expect(try contents(upper, over: all) == expected)
    try upper.close()
    #expect(try readFile(place.files.index).isEmpty)
    // As overlaybd reads it: what the file system has is the layer's.
    let file = try Descriptor.open(place.files.data)
    var seen = all
    var position = 4096
    while true {
      let start = Int(clinux_seek_data(file.rawValue, Int64(position)))
      if start < 0 { break }
      position = Int(clinux_seek_hole(file.rawValue, Int64(start)))
      var bytes = [UInt8](repeating: 0, count: position - start)
      _ = try bytes.withUnsafeMutableBytes { try file.readFully(into: $0, at: UInt64(start)) }
      seen.replaceSubrange(start - 4096..<position - 4096, with: bytes)
    }
    #expect(seen == expected)
    let again = try place.open()
    #expect(try contents(again, over: all) == expected)
    try again.seal()
    try again.close()
    let text = String(
      decoding: try runProgram(["python3", Fixtures.folder + "/decode.py", place.files.data]), as: UTF8.self)
    #expect(text.contains("flags=0x13") && text.contains("flags=0x16"), "\(text)")
  }
}
