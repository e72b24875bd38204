import Glibc
import LSMT
import Posix
import TestSupport
import Testing

@testable import UpperLayer

@Suite("Sparse writable layers")
struct SparseTests {
  private func occupied(_ place: Place) throws -> UInt64 {
    UInt64(try Descriptor.open(place.files.data).status().st_blocks) * 512
  }

  /// A layer below of 1 MiB that has a 7 in all bytes of the sectors `sectors`.
  private func below(_ sectors: Range<UInt64>) -> LowerLayers {
    @Sendable func first(_ range: Range<UInt64>) -> Range<UInt64>? {
      let part = range.clamped(to: sectors)
      return part.isEmpty ? nil : part
    }
    return LowerLayers(
      shown: first, stored: first,
      read: { sector, buffer throws(Errno) in
        for place in 0..<UInt64(buffer.count / 512) {
          let isBelow = sectors.contains(sector + place)
          memset(buffer.baseAddress! + Int(place) * 512, isBelow ? 7 : 0, 512)
        }
      })
  }

  private func open(_ place: Place, _ lowers: LowerLayers?) throws -> Upper {
    try Upper.open(
      place.files, pendingFolder: place.pending, defaultVirtualSize: 1 << 20, parentUUID: nil, lowers: lowers)
  }

  @Test("One is made, written, given back, and adopts the size of what is below")
  func life() throws {
    let place = try Place()
    try place.create(size: 0, kind: .sparse)
    #expect(try readFile(place.files.index).isEmpty)
    var upper = try open(place, nil)
    #expect(upper.kind == .sparse && upper.virtualSize == 1 << 20 && upper.recovery.isClean)
    try upper.write([(16, sectorsBytes(16, 64, 5)), (1000, sectorsBytes(1000, 1, 6))])
    let full = try occupied(place)
    try upper.zero(sector: 10, sectors: 40, keepsSpace: false)
    #expect(try occupied(place) <= full - 4 * 4096)
    #expect(throws: UpperError.sparse(path: place.files.data)) { try upper.compact(waitForReaders: { true }) }
    #expect(upper.pendingCount == 0 && upper.garbageBytes == 0)
    try upper.close()
    #expect(throws: Errno(rawValue: EBADF)) { try upper.write([(0, sectorsBytes(0, 1, 1))]) }
    #expect(try listDirectory(place.scratch.path).sorted() == ["data", "index"])
    upper = try place.open()
    #expect(upper.virtualSize == 1 << 20 && upper.recovery.isClean)
    #expect(try read(upper, sector: 50, sectors: 30) == sectorsBytes(50, 30, 5))
    #expect(try read(upper, sector: 10, sectors: 40) == [UInt8](repeating: 0, count: 40 * 512))
    #expect(try read(upper, sector: 1000, sectors: 1) == sectorsBytes(1000, 1, 6))
    #expect(upper.index.view.piece(at: 24, limit: 1).kind == .unmapped)
    #expect(throws: Errno.invalidArgument) { try upper.write([(2047, sectorsBytes(0, 2, 1))]) }
    #expect(throws: Errno.invalidArgument) { try upper.zero(sector: 2047, sectors: 2, keepsSpace: false) }
    try upper.close()
  }

  @Test("A part of a block brings along what is below, and only where something is; who may not wait is told")
  func copies() throws {
    let place = try Place()
    try place.create(size: 1 << 20, kind: .sparse)
    let upper = try open(place, below(20..<30))
    var piece = sectorsBytes(17, 2, 3)
    piece.withUnsafeMutableBytes { bytes in
      var write = UpperWrite(sector: 17, bytes: .init(bytes))
      #expect(throws: Errno.again) {
        try withUnsafePointer(to: write) { write throws(Errno) in
          try upper.write(.init(start: write, count: 1), mayWait: false)
        }
      }
      #expect(upper.index.dataSectors == 0)
      write.sector = 1
      #expect(throws: Never.self) {
        try withUnsafePointer(to: write) { write throws(Errno) in
          try upper.write(.init(start: write, count: 1), mayWait: false)
        }
      }
    }
    try upper.write([(17, sectorsBytes(17, 2, 3)), (29, sectorsBytes(29, 1, 4))])
    let zeroes = [UInt8](repeating: 0, count: 512)
    let sevens = [UInt8](repeating: 7, count: 512)
    let expected =
      zeroes + sectorsBytes(17, 2, 3) + zeroes + [sevens, sevens, sevens, sevens].joined()
      + [sevens, sevens, sevens, sevens, sevens].joined() + sectorsBytes(29, 1, 4) + zeroes + zeroes
    #expect(try read(upper, sector: 16, sectors: 16) == expected)
    try upper.close()
    let again = try open(place, below(20..<30))
    #expect(again.index.dataSectors == 24)
    #expect(try read(again, sector: 16, sectors: 16) == expected)
    try again.close()
  }

  @Test("A flush that must not wait is done at once, or not at all while somebody else has the turn")
  func flushNow() throws {
    let place = try Place()
    try place.create(size: 1 << 20, kind: .sparse)
    let upper = try open(place, nil)
    try upper.write([(3, sectorsBytes(3, 1, 9))])
    let sparse = try #require(upper.sparse)
    sparse.turn.lock()
    #expect(try !upper.flushNow())
    sparse.turn.unlock()
    #expect(try upper.flushNow())
    #expect(try upper.flushNow(), "with nothing to do")
    try upper.close()
  }

  @Test("A discard hides what is below for good, and gives the rest back")
  func discards() throws {
    let place = try Place()
    try place.create(size: 1 << 20, kind: .sparse)
    let upper = try open(place, below(100..<110))
    try upper.write([(64, sectorsBytes(64, 128, 3))])
    let full = try occupied(place)
    try upper.zero(sector: 64, sectors: 128, keepsSpace: false)
    #expect(try occupied(place) == full - 14 * 4096)
    try upper.zero(sector: 300, sectors: 100, keepsSpace: true)
    try upper.close()
    let again = try open(place, below(100..<110))
    let kinds = [64, 95, 96, 111, 112, 191, 300, 399].map { again.index.view.piece(at: $0, limit: 1).kind }
    #expect(kinds == [.unmapped, .unmapped, .data, .data, .unmapped, .unmapped, .data, .data])
    #expect(try read(again, sector: 64, sectors: 128) == [UInt8](repeating: 0, count: 128 * 512))
    try again.close()
  }

  @Test("What a read of the layers below fails with is the write's error, and nothing is written")
  func failingLowers() throws {
    let place = try Place()
    try place.create(size: 1 << 20, kind: .sparse)
    let all = LowerLayers(shown: { $0 }, stored: { $0 }, read: { _, _ throws(Errno) in throw .ioError })
    let upper = try open(place, all)
    #expect(throws: Errno.ioError) { try upper.write([(3, sectorsBytes(3, 1, 1))]) }
    #expect(upper.index.dataSectors == 0)
    try upper.write([(8, sectorsBytes(8, 8, 1))])
    try upper.close()
    #expect(try open(place, all).index.dataSectors == 8)
  }

  @Test("It grows with zeroes over what is below, and shrinks")
  func sizes() throws {
    let place = try Place()
    try place.create(size: 10 * 512, kind: .sparse)
    let lowers = below(4..<1000)
    let upper = try open(place, lowers)
    #expect(throws: UpperError.self) { try upper.resize(to: 512) }
    try upper.write([(9, sectorsBytes(9, 1, 2))])
    try upper.resize(to: 2000 * 512)
    try upper.write([(1990, sectorsBytes(1990, 10, 3))])
    try upper.resize(to: 1995 * 512, shrinks: true)
    try upper.resize(to: 2001 * 512)
    try upper.close()
    let again = try open(place, lowers)
    #expect(again.recovery.isClean && again.virtualSize == 2001 * 512)
    #expect(try read(again, sector: 10, sectors: 990) == [UInt8](repeating: 0, count: 990 * 512))
    for sector in [UInt64(10), 16, 500, 999] {
      #expect(again.index.view.piece(at: sector, limit: 1).kind == .data, "sector \(sector) shows what is below")
    }
    #expect(try read(again, sector: 9, sectors: 1) == sectorsBytes(9, 1, 2))
    #expect(
      try read(again, sector: 1990, sectors: 11) == sectorsBytes(1990, 5, 3) + [UInt8](repeating: 0, count: 6 * 512))
    try again.seal()
    #expect(throws: Errno(rawValue: EROFS)) { try again.write([(0, sectorsBytes(0, 1, 1))]) }
    try again.close()
    #expect(throws: UpperError.sealed(path: place.files.data)) { try open(place, lowers) }
  }

  @Test("Several threads that write parts of the same blocks leave each what it wrote")
  func threads() throws {
    let place = try Place()
    try place.create(size: 1 << 20, kind: .sparse)
    let upper = try open(place, below(0..<2048))
    let threads = try (0..<4).map { number in
      try Posix.Thread(name: "writer \(number)") {
        // Every fourth sector; of some blocks all of it.
        for sector in stride(from: UInt64(number), to: 2000, by: 4) {
          try? upper.write([(sector, sectorsBytes(sector, 1, UInt64(number) + 1))])
        }
        for sector in stride(from: 2000 + UInt64(number) * 8, to: 2032, by: 32) {
          try? upper.write([(sector, sectorsBytes(sector, 8, UInt64(number) + 1))])
        }
      }
    }
    for thread in threads { #expect(thread.join(Deadline(milliseconds: 60_000))) }
    try upper.close()
    let again = try open(place, below(0..<2048))
    for sector in UInt64(0)..<2000 {
      try #require(try read(again, sector: sector, sectors: 1) == sectorsBytes(sector, 1, sector % 4 + 1))
    }
    for sector in UInt64(2000)..<2032 {
      try #require(try read(again, sector: sector, sectors: 1) == sectorsBytes(sector, 1, (sector - 2000) / 8 + 1))
    }
    try again.close()
  }
}
