import LSMT

/// Index entries: the input is a stack of layers, compared sector by sector with the simplest model there is. The first
/// byte says how many layers, the rest are their entries, 6 bytes each, in the order of writing.
enum TheFuzzer: Fuzzer {
  private static let entrySize = 6
  /// Sectors of the device. Entries lie around its end too.
  private static let sectors = 2048

  static func run(_ input: [UInt8]) {
    guard let first = input.first else { return }
    let entries = stride(from: 1, to: input.count, by: entrySize).map { entry(input, at: $0) }
    let layerCount = 1 + Int(first % 8)
    let perLayer = (entries.count + layerCount - 1) / layerCount
    var model = [Sector?](repeating: nil, count: sectors)
    var layers: [[Segment]] = []
    do throws(LSMTError) {
      for number in 0..<layerCount {
        let own = Array(entries.dropFirst(number * perLayer).prefix(perLayer))
        for segment in own { write(segment, layer: UInt8(number), to: &model) }
        layers.append(try replayed(own))
      }
      let size = UInt64(sectors * sectorSize)
      try checkMap(layers, virtualSize: size)
      compare(try SegmentMap(layers: layers, virtualSize: size), with: model)
    } catch {
      fatalError("\(error)")
    }
  }

  /// What a sector reads as: nothing is nil.
  private enum Sector: Equatable {
    case zeroes
    case data(layer: UInt8, blobSector: UInt64)
  }

  private static func entry(_ input: [UInt8], at start: Int) -> Segment {
    Segment(
      offset: UInt64(input.little(UInt16.self, at: start) % 2100),
      length: UInt32(input.little(UInt16.self, at: start + 2) & 0x1FF),
      moffset: 8 + UInt64(input.little(UInt16.self, at: start + 4) >> 1),
      isZeroed: input.little(UInt16.self, at: start + 4) & 1 != 0, tag: 3)
  }

  private static func write(_ segment: Segment, layer: UInt8, to model: inout [Sector?]) {
    for sector in segment.offset..<segment.end where sector < sectors {
      model[Int(sector)] =
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

  private static func compare(_ map: borrowing SegmentMap, with model: [Sector?]) {
    var cursor = map.view.mappings(from: 0, count: UInt64(sectors))
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
  }

  static func seeds() -> [[UInt8]] {
    let bytes = (0..<600).map { UInt8(truncatingIfNeeded: $0 * $0 / 7 + $0) }
    return [[0], [7] + bytes, [1] + bytes.prefix(60), [3] + bytes.reversed()]
  }
}
