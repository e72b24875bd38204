import LSMT
import Testing

/// Part of a device, sector by sector: too simple to be wrong.
private struct Model {
  enum Sector: Hashable {
    case unmapped
    case zeroes
    case data(UInt64)
  }

  let base: UInt64
  var sectors: [Sector]
  /// Log of what was inserted, for ``IndexLog``.
  var entries: [Segment] = []

  init(base: UInt64, sectors: Int) {
    self.base = base
    self.sectors = Array(repeating: .unmapped, count: sectors)
  }

  var blobSectors: Set<UInt64> {
    Set(sectors.compactMap { if case .data(let blobSector) = $0 { blobSector } else { nil } })
  }

  /// Blob sectors that are not mapped any more: those that were, or that lie beyond the device.
  mutating func insert(_ segment: Segment) -> Set<UInt64> {
    entries.append(segment)
    var freed: Set<UInt64> = []
    for distance in 0..<UInt64(segment.length) {
      let new: Sector = segment.isZeroed ? .zeroes : .data(segment.moffset + distance)
      let sector = Int(segment.offset - base + distance)
      guard sector < sectors.count else {
        if case .data(let blobSector) = new { freed.insert(blobSector) }
        continue
      }
      if case .data(let blobSector) = sectors[sector] { freed.insert(blobSector) }
      sectors[sector] = new
    }
    return freed
  }

  func sector(_ piece: UpperPiece, _ distance: UInt64) -> Sector {
    switch piece.kind {
    case .data: .data(piece.blobSector + distance)
    case .zeroes: .zeroes
    case .unmapped: .unmapped
    }
  }

  /// Compares all sectors, found piece by piece.
  func check(_ view: UpperIndex.View, limit: UInt64, _ seed: UInt64) {
    var sector = base
    let end = base + UInt64(sectors.count)
    while sector < end {
      let piece = view.piece(at: sector, limit: limit)
      guard piece.sectors > 0 && piece.sectors <= limit else {
        Issue.record("\(piece.sectors) sectors at \(sector) of \(limit), seed \(seed)")
        return
      }
      for distance in 0..<min(piece.sectors, end - sector) {
        let expected = sectors[Int(sector - base + distance)]
        guard self.sector(piece, distance) == expected else {
          Issue.record("sector \(sector + distance) is \(self.sector(piece, distance)), not \(expected), seed \(seed)")
          return
        }
      }
      sector += min(piece.sectors, end - sector)
    }
  }
}

/// Joins what can be read as one, forgets where zeroes have their moffset, and cuts at the format's limit again.
private func normalized(_ segments: [Segment]) -> [Segment] {
  var runs: [(offset: UInt64, length: UInt64, moffset: UInt64, isZeroed: Bool)] = []
  for segment in segments {
    if let last = runs.last, last.offset + last.length == segment.offset, last.isZeroed == segment.isZeroed,
      last.isZeroed || last.moffset + last.length == segment.moffset
    {
      runs[runs.count - 1].length += UInt64(segment.length)
    } else {
      runs.append((segment.offset, UInt64(segment.length), segment.isZeroed ? 8 : segment.moffset, segment.isZeroed))
    }
  }
  return runs.flatMap { run in
    stride(from: 0, to: run.length, by: Int(Segment.maxLength)).map { start in
      Segment(
        offset: run.offset + start, length: UInt32(min(run.length - start, Segment.maxLength)),
        moffset: run.isZeroed ? 8 : run.moffset + start, isZeroed: run.isZeroed)
    }
  }
}

@Suite("The index of a writable layer against a model of single sectors")
struct UpperModelTests {
  /// Random entries; then everything that the index says is compared with the model.
  private func run(
    base: UInt64, sectors: Int, deviceSectors: UInt64, entries: Int, longest: UInt64, _ seed: UInt64
  ) throws {
    var random = Random(seed: seed)
    let index = try UpperIndex(deviceSectors: deviceSectors)
    var model = Model(base: base, sectors: sectors)
    var blobSector: UInt64 = 8
    var next: UInt64 = base
    // Beyond the device there may be something, beyond the model not.
    let room = base + UInt64(sectors) < deviceSectors ? base + UInt64(sectors) : Segment.maxOffset
    let align: UInt64 = random.chance(50) ? 8 : 1
    for step in 0..<entries {
      // Sequential now and then, in the blob too, so that there is something to join.
      let offset =
        random.chance(40) && next < base + UInt64(sectors) ? next : base + random.below(UInt64(sectors)) / align * align
      let length = min((random.below(longest) / align + 1) * align, Segment.maxLength, room - offset)
      let segment = Segment(offset: offset, length: UInt32(length), moffset: blobSector, isZeroed: random.chance(15))
      next = segment.end
      if !segment.isZeroed { blobSector += length }
      var freed: [UInt64] = []
      index.insert(segment) { first, count in freed += first..<first + count }
      let expected = model.insert(segment)
      #expect(freed.count == expected.count && Set(freed) == expected, "entry \(step), seed \(seed)")
    }
    model.check(index.view, limit: 1 + random.below(UInt64(5000)), seed)
    model.check(index.view, limit: .max, seed)
    #expect(index.dataSectors == UInt64(model.blobSectors.count), "seed \(seed)")
    var mapped: Set<UInt64> = []
    index.forEachDataRun { first, count in mapped.formUnion(first..<first + count) }
    #expect(mapped == model.blobSectors, "seed \(seed)")
    let segments = index.segments()
    #expect(segments == normalized(try replayed(model.entries, below: deviceSectors)), "seed \(seed)")
    // Another one made of these entries is the same.
    let copy = try UpperIndex(deviceSectors: deviceSectors)
    for segment in segments.shuffled(using: &random) { copy.insert(segment) { _, _ in Issue.record("an overlap") } }
    #expect(copy.segments() == segments && copy.segmentCount == index.segmentCount, "seed \(seed)")
  }

  /// What an index file with these entries says, below the end of the device.
  private func replayed(_ entries: [Segment], below end: UInt64) throws -> [Segment] {
    let header = LayerRecord(flags: LayerRecord.Flag.header, indexOffset: UInt64(LayerRecord.size), virtualSize: 0)
    let bytes = header.encoded() + entries.flatMap(\.encoded)
    return try decodeIndexLog(bytes.span.bytes).replayed().compactMap { segment in
      guard segment.offset < end else { return nil }
      return Segment(
        offset: segment.offset, length: UInt32(min(segment.end, end) - segment.offset), moffset: segment.moffset,
        isZeroed: segment.isZeroed)
    }
  }

  @Test("Small devices, short entries")
  func smallDevices() throws {
    for seed in Random.seeds(60) {
      var random = Random(seed: seed &+ 1000)
      let sectors = 1 + random.below(6000)
      try run(base: 0, sectors: sectors, deviceSectors: UInt64(sectors), entries: 60, longest: 200, seed)
    }
  }

  @Test("Entries over several regions, beside crowded ones")
  func longEntries() throws {
    for seed in Random.seeds(8) {
      try run(base: 0, sectors: 40_000, deviceSectors: 40_000, entries: 60, longest: Segment.maxLength, seed)
      try run(base: 2000, sectors: 4300, deviceSectors: 1 << 40, entries: 500, longest: 12, seed)
    }
  }

  @Test("Devices of more than 64 TiB have larger regions")
  func hugeDevices() throws {
    for seed in Random.seeds(8) {
      for size in [1 << 38 + 5, 1 << 43, Segment.maxOffset] as [UInt64] {
        try run(base: size - 10_000, sectors: 10_000, deviceSectors: size, entries: 80, longest: 3000, seed)
        try run(base: 1 << 37, sectors: 40_000, deviceSectors: size, entries: 40, longest: Segment.maxLength, seed)
      }
    }
  }
}
