import LSMT
import Testing

@Suite("The index of a writable layer")
struct UpperIndexTests {
  @Test("An empty index maps nothing, in one piece however large the device is")
  func empty() throws {
    for sectors in [0, 1, 2048, 5000, 1 << 31, 1 << 37, Segment.maxOffset] as [UInt64] {
      let index = try UpperIndex(deviceSectors: sectors)
      #expect(index.segments().isEmpty && index.segmentCount == 0 && index.dataSectors == 0)
      let limit: UInt64 = 1 << 27
      #expect(index.view.piece(at: 0, limit: limit) == UpperPiece(unmapped: limit))
      #expect(index.view.piece(at: sectors, limit: 7) == UpperPiece(unmapped: 7))
    }
    #expect(throws: LSMTError.virtualSizeTooLarge(bytes: 1 << 59, limit: SegmentMap.maxVirtualSize)) {
      _ = try UpperIndex(deviceSectors: 1 << 50)
    }
    #expect(throws: LSMTError.virtualSizeTooLarge(bytes: .max, limit: SegmentMap.maxVirtualSize)) {
      _ = try UpperIndex(deviceSectors: .max)
    }
  }

  @Test("An entry over many regions is found piece by piece, and comes back as one")
  func longEntry() throws {
    let index = try UpperIndex(deviceSectors: 1 << 20)
    let segment = Segment(offset: 1000, length: 16383, moffset: 8)
    index.insert(segment) { _, _ in Issue.record("nothing was mapped there") }
    #expect(index.segments() == [segment])
    #expect(index.dataSectors == 16383 && index.segmentCount == 9)
    #expect(index.view.piece(at: 0, limit: 5000) == UpperPiece(unmapped: 1000))
    #expect(index.view.piece(at: 1000, limit: 5000) == UpperPiece(kind: .data, sectors: 1048, blobSector: 8))
    #expect(index.view.piece(at: 2050, limit: 7) == UpperPiece(kind: .data, sectors: 7, blobSector: 1058))
    #expect(index.view.piece(at: 17383, limit: 1 << 40) == UpperPiece(unmapped: 1 << 40))
    #expect(index.view.piece(at: 20000, limit: .max) == UpperPiece(unmapped: .max))
  }

  @Test("Blob sectors up to the largest of the format come back")
  func largeBlobSectors() throws {
    let index = try UpperIndex(deviceSectors: Segment.maxOffset)
    let last = Segment.maxOffset - 10
    let segments = [
      Segment(offset: 5, length: 8, moffset: Segment.maxMoffset - 7),
      Segment(offset: 1 << 40, length: 100, moffset: 8),
      Segment(offset: last, length: 10, moffset: Segment.maxMoffset - 100),
    ]
    for segment in segments.reversed() { index.insert(segment) { _, _ in } }
    #expect(index.segments() == segments)
    let found = index.view.piece(at: 7, limit: 100)
    #expect(found == UpperPiece(kind: .data, sectors: 6, blobSector: Segment.maxMoffset - 5))
    #expect(index.view.piece(at: last + 9, limit: 100).blobSector == Segment.maxMoffset - 91)
  }

  @Test("What lies beyond the device is not mapped, and its data is free")
  func beyondTheDevice() throws {
    let index = try UpperIndex(deviceSectors: 3000)
    var freed: [[UInt64]] = []
    index.insert(Segment(offset: 2990, length: 30, moffset: 100)) { freed.append([$0, $1]) }
    index.insert(Segment(offset: 5000, length: 8, moffset: 200)) { freed.append([$0, $1]) }
    index.insert(Segment(offset: 5000, length: 8, moffset: 300, isZeroed: true)) { freed.append([$0, $1]) }
    index.insert(.padding) { freed.append([$0, $1]) }
    index.insert(Segment(offset: 0, length: 0, moffset: 0)) { freed.append([$0, $1]) }
    #expect(freed == [[110, 20], [200, 8]])
    #expect(index.segments() == [Segment(offset: 2990, length: 10, moffset: 100)])
  }

  @Test("A device grows while views are in use, up to what was reserved")
  func growth() throws {
    let index = try UpperIndex(deviceSectors: 100)
    let view = index.view
    index.insert(Segment(offset: 90, length: 20, moffset: 8)) { _, _ in }
    try index.grow(to: 1 << 30)
    #expect(view.piece(at: 90, limit: 100) == UpperPiece(kind: .data, sectors: 10, blobSector: 8))
    #expect(view.piece(at: 100, limit: 1000) == UpperPiece(unmapped: 1000))
    index.insert(Segment(offset: 1 << 29, length: 20, moffset: 50)) { _, _ in }
    #expect(view.piece(at: 1 << 29, limit: 100) == UpperPiece(kind: .data, sectors: 20, blobSector: 50))
    try index.grow(to: 7)
    #expect(index.deviceSectors == 1 << 30 && index.deviceSectorsMax == 1 << 37)
    let tooMany: UInt64 = 1 << 37 + 1
    #expect(throws: LSMTError.indexCannotGrow(sectors: tooMany, limit: 1 << 37)) { try index.grow(to: tooMany) }
    try index.grow(to: 1 << 37)
    index.insert(Segment(offset: 1 << 37 - 1, length: 1, moffset: 70)) { _, _ in }
    #expect(index.segments().count == 3)
  }

  @Test("Writing the same thing again changes nothing and frees nothing")
  func sameAgain() throws {
    let index = try UpperIndex(deviceSectors: 1 << 20)
    let segments = [
      Segment(offset: 8, length: 3000, moffset: 100), Segment(offset: 5000, length: 9, moffset: 9000, isZeroed: true),
    ]
    for segment in segments { index.insert(segment) { _, _ in } }
    let before = index.segments()
    for segment in segments { index.insert(segment) { _, _ in Issue.record("it is still mapped") } }
    // Part of it, at the same place.
    index.insert(Segment(offset: 20, length: 30, moffset: 112)) { _, _ in Issue.record("it is still mapped") }
    #expect(index.segments() == before && index.dataSectors == 3000)
  }

  @Test("Memory follows what is mapped now: an hour of small writes to a small range, then one over all of it")
  func memory() throws {
    var random = Random(seed: 7)
    let index = try UpperIndex(deviceSectors: 1 << 30)
    let range: UInt64 = 1 << 16
    var blobSector: UInt64 = 8
    let empty = index.byteCount
    for _ in 0..<100_000 {
      index.insert(Segment(offset: random.below(range / 8) * 8, length: 8, moffset: blobSector)) { _, _ in }
      blobSector += 8
    }
    // Some 12 writes for each place. All is mapped by 8192 pieces of 12 bytes, and a block is at most three times too large. Of the
    // table there is one page, and one that says so.
    #expect(index.segmentCount <= 8192 && index.byteCount - empty <= 8192 * 36 + 8192)
    let fragmented = index.byteCount
    for offset in stride(from: 0, to: range, by: 8192) {
      index.insert(Segment(offset: offset, length: 8192, moffset: blobSector)) { _, _ in }
      blobSector += 8192
    }
    #expect(index.segmentCount == 32 && index.dataSectors == range)
    #expect(index.byteCount - empty <= 8192 && index.byteCount < fragmented)
    // Half of it again, in order: what is adjacent becomes one again.
    for offset in stride(from: 0, to: range / 2, by: 8) {
      index.insert(Segment(offset: offset, length: 8, moffset: blobSector)) { _, _ in }
      blobSector += 8
    }
    #expect(index.segmentCount == 32 && index.byteCount - empty <= 8192)
  }
}

extension UpperPiece {
  init(unmapped sectors: UInt64) { self.init(kind: .unmapped, sectors: sectors, blobSector: 0) }
}
