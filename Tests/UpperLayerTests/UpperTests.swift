import Foundation
import LSMT
import Posix
import Synchronization
import TestSupport
import Testing

@testable import UpperLayer

@Suite("A writable layer on real files")
struct UpperTests {
  @Test("What was written is read again, in this opening and the next")
  func roundTrip() throws {
    let place = try Place()
    try place.create()
    var upper = try place.open()
    #expect(upper.recovery.isClean)
    try upper.write([(0, sectorsBytes(0, 8, 1)), (8, sectorsBytes(8, 8, 1)), (100, sectorsBytes(100, 1, 1))])
    #expect(upper.pendingCount == 2)
    try upper.write([(101, sectorsBytes(101, 3, 1))])
    #expect(upper.pendingCount == 2)
    try upper.zero(sector: 4, sectors: 2, keepsSpace: false)
    let expected = sectorsBytes(0, 4, 1) + [UInt8](repeating: 0, count: 1024) + sectorsBytes(6, 10, 1)
    #expect(try read(upper, sector: 0, sectors: 16) == expected)
    try upper.flush()
    #expect(upper.pendingCount == 0)
    try upper.close()
    #expect(try listDirectory(place.pending).isEmpty)
    upper = try place.open()
    #expect(upper.recovery.isClean)
    #expect(try read(upper, sector: 0, sectors: 16) == expected)
    #expect(
      try read(upper, sector: 99, sectors: 6) == [UInt8](repeating: 0, count: 512)
        + sectorsBytes(100, 4, 1) + [UInt8](repeating: 0, count: 512))
    try upper.close()
  }

  @Test("What a killed server had acknowledged is there, flushed or not")
  func killed() throws {
    let place = try Place()
    try place.create()
    // Left without an end, as by a killed process.
    func leave(_ body: (Upper) throws -> Void) throws { try body(try place.open()) }
    try leave { upper in
      try upper.write([(0, sectorsBytes(0, 4, 1))])
      try upper.flush()
      try upper.write([(2, sectorsBytes(2, 4, 2))])
      try upper.zero(sector: 5, sectors: 1, keepsSpace: true)
    }
    let expected = sectorsBytes(0, 2, 1) + sectorsBytes(2, 3, 2) + [UInt8](repeating: 0, count: 512)
    try leave { upper in
      #expect(upper.recovery.replayedEntries == 2)
      #expect(upper.pendingCount == 2)
      let found = try read(upper, sector: 0, sectors: 6)
      #expect(found == expected)
    }
    // A log of another boot says nothing.
    let log = place.pending + "/" + (try listDirectory(place.pending)[0])
    let file = try Descriptor.open(log, O_RDWR)
    try [0x55 as UInt8].withUnsafeBytes { try file.writeFully($0, at: 16) }
    let upper = try place.open()
    #expect(upper.recovery.voidEntries == 2 && upper.recovery.replayedEntries == 0)
    #expect(try read(upper, sector: 0, sectors: 4) == sectorsBytes(0, 4, 1))
    try upper.close()
  }

  @Test("What another program appended after a kill counts as newer")
  func foreignEntries() throws {
    let place = try Place()
    try place.create()
    func leave(_ body: (Upper) throws -> Void) throws { try body(try place.open()) }
    try leave { try $0.write([(0, sectorsBytes(0, 8, 1))]) }
    // As overlaybd appends, behind padding of ours too.
    let data = try Descriptor.open(place.files.data, O_RDWR)
    let end = UInt64(try data.status().st_size)
    try sectorsBytes(4, 1, 2).withUnsafeBytes { try data.writeFully($0, at: end) }
    let index = try Descriptor.open(place.files.index, O_RDWR)
    try Segment(offset: 4, length: 1, moffset: end / 512, tag: 3).encoded.withUnsafeBytes {
      try index.writeFully($0, at: UInt64(try index.status().st_size))
    }
    let expected = sectorsBytes(0, 4, 1) + sectorsBytes(4, 1, 2) + sectorsBytes(5, 3, 1)
    for round in 0..<2 {
      let upper = try place.open()
      #expect(upper.recovery.foreignEntries == (round == 0 ? 1 : 0))
      #expect(upper.recovery.isClean == (round == 1))
      #expect(try read(upper, sector: 0, sectors: 8) == expected)
      try upper.close()
    }
  }

  @Test("A torn upper of overlaybd opens, with what it holds, and overlaybd would open it then")
  func tornUpper() throws {
    let place = try Place()
    try place.create()
    let data = try Descriptor.open(place.files.data, O_RDWR)
    try (sectorsBytes(0, 8, 1) + sectorsBytes(20, 2, 1) + Array(repeating: 9, count: 100)).withUnsafeBytes {
      try data.writeFully($0, at: 4096)
    }
    let index = try Descriptor.open(place.files.index, O_RDWR)
    let entries =
      Segment(offset: 0, length: 8, moffset: 8).encoded + [UInt8](repeating: 0, count: 16)
      + Segment(offset: 20, length: 4, moffset: 16, tag: 2).encoded
      + Segment(offset: 40, length: 4, moffset: 20).encoded
      + Segment(offset: 6, length: 1, moffset: 24, isZeroed: true).encoded
      + Segment(offset: 50, length: 4, moffset: 25).encoded + [1, 2, 3]
    try entries.withUnsafeBytes { try index.writeFully($0, at: 4096) }
    var expected = RecoveryReport()
    expected.cutEntries = 3
    expected.cutSectors = 10
    expected.blankEntries = 1
    expected.tornIndexBytes = 3
    expected.tornDataBytes = 100
    expected.hasRewrittenIndex = true
    let upper = try place.open()
    #expect(upper.recovery == expected)
    #expect(upper.recovery.lines.count == 5)
    try upper.write([(60, sectorsBytes(60, 1, 3))])
    try upper.close()
    #expect(
      strictComplaint(data: try readFile(place.files.data), index: try readFile(place.files.index)) == nil)
    let again = try place.open()
    #expect(again.recovery.isClean)
    let zeroes = [UInt8](repeating: 0, count: 512)
    #expect(try read(again, sector: 0, sectors: 8) == sectorsBytes(0, 6, 1) + zeroes + sectorsBytes(7, 1, 1))
    #expect(try read(again, sector: 20, sectors: 3) == sectorsBytes(20, 2, 1) + zeroes)
    #expect(try read(again, sector: 60, sectors: 1) == sectorsBytes(60, 1, 3))
    try again.close()
  }

  @Test("Data that comes later does not bring an entry back whose own data never came")
  func lateData() throws {
    let place = try Place()
    try place.create()
    let index = try Descriptor.open(place.files.index, O_RDWR)
    try Segment(offset: 40, length: 4, moffset: 8).encoded.withUnsafeBytes { try index.writeFully($0, at: 4096) }
    for round in 0..<2 {
      // Left without an end; then the power fails, and the log is gone with it.
      let upper = try place.open()
      #expect(upper.recovery.cutEntries == (round == 0 ? 1 : 0))
      try upper.write([(0, sectorsBytes(0, 8, 1))])
      #expect(try read(upper, sector: 40, sectors: 4) == [UInt8](repeating: 0, count: 2048))
      for name in try listDirectory(place.pending) { _ = unlink("\(place.pending)/\(name)") }
    }
  }

  @Test("A size of 0 is adopted from the layers below, and written into both files; resizing writes it too")
  func sizes() throws {
    let place = try Place()
    try place.create(size: 0)
    func sizes() throws -> [UInt64] {
      try [place.files.data, place.files.index].map {
        let bytes = try readFile($0)
        return try LayerRecord(parsing: bytes.span.bytes, as: .header).virtualSize
      }
    }
    let upper = try place.open(defaultSize: 1 << 20)
    #expect(upper.virtualSize == 1 << 20)
    #expect(try sizes() == [1 << 20, 1 << 20])
    #expect(throws: Errno.invalidArgument) { try upper.write([(2048, sectorsBytes(2048, 1, 1))]) }
    try upper.resize(to: 2 << 20)
    #expect(try sizes() == [2 << 20, 2 << 20])
    try upper.write([(2048, sectorsBytes(2048, 1, 1))])
    #expect(throws: UpperError.self) { try upper.resize(to: 1 << 20) }
    #expect(throws: UpperError.self) { try upper.resize(to: (3 << 20) + 1) }
    try upper.resize(to: 1 << 20, shrinks: true)
    try upper.resize(to: 4 << 20)
    #expect(try read(upper, sector: 2048, sectors: 1) == [UInt8](repeating: 0, count: 512))
    try upper.close()
    // A crash between the two headers of a resize.
    let index = try Descriptor.open(place.files.index, O_RDWR)
    try [0, 0, 0x10, 0, 0, 0, 0, 0 as UInt8].withUnsafeBytes { try index.writeFully($0, at: 48) }
    let again = try place.open()
    #expect(again.recovery.hadTwoSizes && again.virtualSize == 4 << 20)
    #expect(try sizes() == [4 << 20, 4 << 20])
    try again.close()
  }

  @Test("A sealed layer has a standard index and trailer, and takes no writes")
  func sealing() throws {
    let place = try Place()
    try place.create(parent: otherUUID)
    let upper = try place.open()
    try upper.write([(0, sectorsBytes(0, 8, 1)), (100, sectorsBytes(100, 3, 1))])
    try upper.zero(sector: 2, sectors: 2, keepsSpace: false)
    try upper.seal()
    #expect(throws: Errno(rawValue: EROFS)) { try upper.write([(0, sectorsBytes(0, 1, 2))]) }
    #expect(throws: Errno(rawValue: EROFS)) { try upper.zero(sector: 0, sectors: 1, keepsSpace: false) }
    #expect(try read(upper, sector: 100, sectors: 3) == sectorsBytes(100, 3, 1))
    let bytes = try readFile(place.files.data)
    let trailer = try LayerRecord(parsing: bytes.span.bytes.extracting(droppingFirst: bytes.count - 4096), as: .trailer)
    #expect(trailer.flags == 6 && trailer.uuid == testUUID && trailer.parentUUID == otherUUID)
    #expect(trailer.virtualSize == 64 << 20)
    let index = try SealedIndex(trailer: trailer, layerSize: UInt64(bytes.count))
    let start = Int(index.byteOffset)
    let segments = try index.decode(bytes.span.bytes.extracting(start..<start + index.byteCount))
    #expect(segments == upper.index.segments())
    #expect(segments.map(\.offset) == [0, 2, 4, 100])
    try upper.close()
  }

  @Test("A layer that nothing was written to can be sealed")
  func sealingNothing() throws {
    let place = try Place()
    try place.create()
    let upper = try place.open()
    try upper.seal()
    try upper.close()
    let bytes = try readFile(place.files.data)
    let trailer = try LayerRecord(parsing: bytes.span.bytes.extracting(droppingFirst: 4096), as: .trailer)
    #expect(try SealedIndex(trailer: trailer, layerSize: 8192).byteCount == 0)
    #expect(throws: UpperError.sealed(path: place.files.data)) { try place.open() }
  }

  @Test("A disk without room refuses writes, not flushes, and takes writes again")
  func fullDisk() throws {
    let place = try Place()
    // A file system of its own, of 8 MiB.
    mkdir(place.scratch("small"), 0o755)
    guard (try? runProgram(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place.scratch("small")])) != nil else {
      print("no disk of 8 MiB: may not mount one")
      return
    }
    defer { _ = try? runProgram(["umount", "-l", place.scratch("small")]) }
    let files = UpperFiles(data: place.scratch("small/data"), index: place.scratch("small/index"))
    try UpperFiles.create(
      data: files.data, index: files.index, kind: .append, virtualSize: 64 << 20, uuid: testUUID)
    let upper = try Upper.open(files, pendingFolder: place.pending, defaultVirtualSize: 0)
    var sector: UInt64 = 0
    var refusal: Errno?
    while refusal == nil, sector < 64 << 11 {
      do {
        // Scattered, so that each needs an entry.
        try upper.write([(sector, sectorsBytes(sector, 8, 1))])
        sector += 16
      } catch { refusal = error as? Errno }
    }
    #expect(refusal == .noSpace)
    #expect(sector > 16 * 1500)
    try upper.flush()
    #expect(upper.pendingCount == 0)
    #expect(try read(upper, sector: sector, sectors: 8) == [UInt8](repeating: 0, count: 4096))
    #expect(throws: Errno.noSpace) { try upper.write([(sector, sectorsBytes(sector, 8, 1))]) }
    // Discarding makes room.
    try upper.zero(sector: 0, sectors: 1600, keepsSpace: false)
    try upper.write([(sector, sectorsBytes(sector, 8, 2))])
    try upper.close()
    let again = try Upper.open(files, pendingFolder: place.pending, defaultVirtualSize: 0)
    #expect(again.recovery.isClean)
    #expect(try read(again, sector: sector, sectors: 8) == sectorsBytes(sector, 8, 2))
    #expect(try read(again, sector: 1600, sectors: 8) == sectorsBytes(1600, 8, 1))
    try again.close()
  }

  @Test("Space of discarded data is given back, and overwritten data is counted as garbage")
  func space() throws {
    let place = try Place()
    try place.create()
    let upper = try place.open()
    for version in 1...4 as ClosedRange<UInt64> { try upper.write([(0, sectorsBytes(0, 2048, version))]) }
    try upper.flush()
    let stored = try Descriptor.open(place.files.data).status().st_blocks
    #expect(upper.garbageBytes >= 3 << 20 && upper.garbageBytes < 3 << 20 + 65536)
    try upper.zero(sector: 0, sectors: 2048, keepsSpace: true)
    #expect(try Descriptor.open(place.files.data).status().st_blocks == stored)
    try upper.write([(0, sectorsBytes(0, 2048, 9))])
    try upper.zero(sector: 0, sectors: 2048, keepsSpace: false)
    #expect(try read(upper, sector: 0, sectors: 2048) == [UInt8](repeating: 0, count: 1 << 20))
    try upper.flush()
    #expect(try Descriptor.open(place.files.data).status().st_blocks <= stored + 16)
    try upper.close()
  }

  @Test("Many threads write, zero and flush at once, and each sector is what one of them wrote last")
  func threads() throws {
    let place = try Place()
    try place.create(size: 4 << 20)
    let upper = try place.open()
    let rounds: UInt64 = 300
    let threads = try (0..<4 as Range<UInt64>).map { number in
      try Posix.Thread(name: "writer") {
        var random = SplitMix(state: number)
        for round in 1...rounds {
          // Each thread has its own sectors, next to those of the others.
          let sector = UInt64.random(in: 0..<2000, using: &random) / 4 * 4 + number
          if round % 7 == 0 {
            try! upper.zero(sector: sector, sectors: 1, keepsSpace: false)
          } else {
            try! upper.write([(sector, sectorsBytes(sector, 1, round))])
          }
          if round % 16 == 0 { try! upper.flush() }
        }
      }
    }
    for thread in threads { #expect(thread.join(Deadline(milliseconds: 60000))) }
    func check(_ upper: Upper) throws {
      for number in 0..<4 as Range<UInt64> {
        var random = SplitMix(state: number)
        var expected: [UInt64: UInt64] = [:]
        for round in 1...rounds {
          expected[UInt64.random(in: 0..<2000, using: &random) / 4 * 4 + number] = round % 7 == 0 ? 0 : round
        }
        for (sector, version) in expected {
          let bytes = version == 0 ? [UInt8](repeating: 0, count: 512) : sectorsBytes(sector, 1, version)
          #expect(try read(upper, sector: sector, sectors: 1) == bytes)
        }
      }
    }
    try check(upper)
    try upper.close()
    let again = try place.open()
    #expect(again.recovery.isClean)
    try check(again)
    try again.close()
  }

  @Test("A flush that must not wait is done at once, or not at all while somebody else is at the index file")
  func flushNow() throws {
    let place = try Place()
    try place.create(size: 1 << 20)
    let upper = try Upper.open(
      place.files, pendingFolder: place.pending, defaultVirtualSize: 0, parentUUID: nil, compactionFloor: 100)
    func entryCount() throws -> Int {
      let bytes = try readFile(place.files.index)
      let log = try decodeIndexLog(bytes.span.bytes)
      return log.entries.count
    }
    func write(_ version: UInt64) throws { try upper.write([(version % 2 * 8, sectorsBytes(0, 1, version))]) }
    // Of what was before nothing is known.
    #expect(try !upper.flushNow())
    try upper.flush()
    for version in 0..<100 as Range<UInt64> { try write(version) }
    let isDone = try upper.append!.takingTurn { () throws(Errno) -> Bool in try upper.flushNow() }
    #expect(!isDone && upper.pendingCount == 100)
    #expect(try upper.flushNow())
    #expect(upper.pendingCount == 0)
    #expect(try entryCount() == 100)
    // With one more than a hundred entries for two sectors a new index file is due.
    try write(100)
    #expect(try upper.flushNow())
    try write(101)
    #expect(try !upper.flushNow())
    #expect(upper.pendingCount == 1)
    try upper.flush()
    #expect(try entryCount() == 2)
    try write(102)
    #expect(try upper.flushNow())
    try upper.close()
  }

  @Test(
    "What is written while others flush is in the index file after the last flush, also when that is written anew",
    arguments: [1 << 20, 100 as UInt64])
  func writesDuringFlushes(compactionFloor: UInt64) throws {
    let place = try Place()
    try place.create(size: 1 << 20)
    let upper = try Upper.open(
      place.files, pendingFolder: place.pending, defaultVirtualSize: 0, parentUUID: nil,
      compactionFloor: compactionFloor)
    // Enough for a new index file at the next flush.
    for number in 0..<500 as Range<UInt64> { try upper.write([(number % 2, sectorsBytes(number % 2, 1, number))]) }
    try upper.flush()
    let isOver = Atomic<Bool>(false)
    let flushers = try (0..<3).map { number in
      try Posix.Thread(name: "flusher") {
        while !isOver.load(ordering: .acquiring) {
          if number == 2 { _ = try! upper.flushNow() } else { try! upper.flush() }
        }
      }
    }
    // Each makes the entry of the one before it longer, unless that is on its way into the file; nothing is written twice.
    for sector in 2..<2048 as Range<UInt64> where sector % 16 != 0 {
      try upper.write([(sector, sectorsBytes(sector, 1, 1))])
      // Until a flusher has begun, and with that written the index file anew if that is due.
      if sector == 2 { #expect(Deadline(milliseconds: 60_000).wait(interval: 1) { upper.pendingCount == 0 }) }
    }
    isOver.store(true, ordering: .releasing)
    for flusher in flushers { #expect(flusher.join(Deadline(milliseconds: 60000))) }
    try upper.flush()
    let bytes = try readFile(place.files.index)
    let log = try decodeIndexLog(bytes.span.bytes)
    // The first write of all was overwritten.
    #expect((log.entries.first?.moffset == 8) == (compactionFloor == 1 << 20))
    let replayed = try UpperIndex(deviceSectors: 2048)
    for segment in log.entries { replayed.insert(segment, freed: { _, _ in }) }
    #expect(replayed.segments() == upper.index.segments())
    try upper.close()
  }
}
