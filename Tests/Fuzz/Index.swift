import LSMT

/// Index entries: the input is a stack of layers, compared sector by sector with the simplest model there is. The first
/// byte says how many layers, and where on the device the modelled sectors are: from sector 0, around sector 2^32, or at the
/// end of the largest device, so that buckets are of any width. The rest are the layers' entries, 6 bytes each, in the order of
/// writing.
enum TheFuzzer: Fuzzer {
  private static let entrySize = 6
  /// Sectors that are modelled, the last ones of the device. Entries lie around its end too.
  private static let sectors = 2048
  /// Where they may begin.
  private static let bases: [UInt64] = [0, 1 << 32 - 1000, Segment.maxOffset - 4096]

  static func run(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let base = bases[Int(first / 8) % bases.count]
    let entries = stride(from: 1, to: input.count, by: entrySize).map { entry(input, at: $0, base: base) }
    let layerCount = 1 + Int(first % 8)
    let perLayer = (entries.count + layerCount - 1) / layerCount
    var model = [Sector?](repeating: nil, count: sectors)
    var layers: [[Segment]] = []
    do throws(LSMTError) {
      for number in 0..<layerCount {
        let own = Array(entries.dropFirst(number * perLayer).prefix(perLayer))
        for segment in own { write(segment, base: base, layer: UInt8(number), to: &model) }
        layers.append(try replayed(own))
      }
      let size = (base + UInt64(sectors)) * UInt64(sectorSize)
      try checkMap(layers, virtualSize: size)
      compare(try SegmentMap(layers: layers, virtualSize: size), base: base, with: model)
      try checkUpper(entries, base: base, with: model)
    } catch {
      fatalError("\(error)")
    }
  }

  /// What a sector reads as: nothing is nil.
  private enum Sector: Equatable {
    case zeroes
    case data(layer: UInt8, blobSector: UInt64)
  }

  private static func entry(_ input: [UInt8], at start: Int, base: UInt64) -> Segment {
    Segment(
      offset: base + UInt64(input.little(UInt16.self, at: start) % 2100),
      length: UInt32(input.little(UInt16.self, at: start + 2) & 0x1FF),
      moffset: 8 + UInt64(input.little(UInt16.self, at: start + 4) >> 1),
      isZeroed: input.little(UInt16.self, at: start + 4) & 1 != 0, tag: 3)
  }

  private static func write(_ segment: Segment, base: UInt64, layer: UInt8, to model: inout [Sector?]) {
    for sector in segment.offset..<segment.end where sector - base < sectors {
      model[Int(sector - base)] =
        segment.isZeroed
        ? .zeroes : .data(layer: layer, blobSector: segment.moffset + sector - segment.offset)
    }
  }

  private static func replayed(_ entries: [Segment]) throws(LSMTError) -> [Segment] {
    let header = LayerRecord(
      flags: LayerRecord.Flag.header, indexOffset: UInt64(LayerRecord.size), virtualSize: 0)
    let log = header.encoded() + entries.flatMap(\.encoded)
    return try decodeIndexLog(log.span.bytes).replayed()
  }

  /// The same entries as a writable layer gets them.
  private static func checkUpper(_ entries: [Segment], base: UInt64, with model: [Sector?]) throws(LSMTError) {
    let index = try UpperIndex(deviceSectors: base + UInt64(sectors))
    for segment in entries { index.insert(segment) { _, _ in } }
    var found = [UpperPiece?](repeating: nil, count: sectors)
    for segment in index.segments() {
      for sector in segment.offset..<segment.end {
        require(found[Int(sector - base)] == nil, "segments overlap at sector \(sector)")
        found[Int(sector - base)] = UpperPiece(
          kind: segment.isZeroed ? .zeroes : .data, sectors: 1,
          blobSector: segment.isZeroed ? 0 : segment.moffset + sector - segment.offset)
      }
    }
    for sector in 0..<sectors {
      let piece = index.view.piece(at: base + UInt64(sector), limit: 1)
      require(piece.kind == .unmapped ? found[sector] == nil : found[sector] == piece, "sector \(sector) is two things")
      switch model[sector] {
      case nil: require(piece.kind == .unmapped, "sector \(sector) is mapped")
      case .zeroes: require(piece.kind == .zeroes, "sector \(sector) is not zeroes")
      case .data(_, let blobSector):
        require(piece.kind == .data && piece.blobSector == blobSector, "sector \(sector) is \(piece)")
      }
    }
  }

  private static func compare(_ map: borrowing SegmentMap, base: UInt64, with model: [Sector?]) {
    var cursor = map.view.mappings(from: base, count: UInt64(sectors))
    var sector = 0
    while let mapping = cursor.next() {
      for distance in 0..<mapping.sectors {
        let expected = model[sector] ?? .zeroes
        let found: Sector =
          mapping.isZeroes ? .zeroes : .data(layer: mapping.layer, blobSector: mapping.blobSector + distance)
        require(found == expected, "sector \(sector) is \(found) instead of \(expected)")
        sector += 1
      }
    }
    require(sector == sectors, "the mappings end at sector \(sector)")
    if base > 0 {
      cursor = map.view.mappings(from: 0, count: base)
      let before = cursor.next()
      require(before?.sectors == base && before?.isZeroes == true, "\(before as Mapping?) before the first segment")
    }
  }

  static func seeds() -> [[UInt8]] {
    let bytes = (0..<600).map { UInt8(truncatingIfNeeded: $0 * $0 / 7 + $0) }
    return [[0], [7] + bytes, [9] + bytes.prefix(60), [19] + bytes.reversed()]
  }
}
