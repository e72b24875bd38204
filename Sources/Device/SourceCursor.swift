import LSMT

/// Walks what a device range consists of: the upper's pieces, where it has none those of the frozen layer if there is one,
/// and else the layers below. Without an upper, the layers alone.
struct SourceCursor: BitwiseCopyable {
  /// What of the layers below is still to be looked at, before the upper is asked again.
  private var lower: MappingCursor
  /// The first sector that the upper was not asked for; `end` without an upper.
  private var position: UInt64
  private let end: UInt64

  @inline(__always)
  init(_ source: borrowing QueueSource, from sector: UInt64, count: UInt64) {
    end = sector &+ count
    if source.upper == nil {
      position = end
      lower = source.map.mappings(from: sector, count: count)
    } else {
      position = sector
      // Nothing: beyond all that a device can have.
      lower = source.map.mappings(from: .max, count: 0)
    }
  }

  /// The next mapping; nil at the end of the range.
  @inline(__always)
  mutating func next(_ source: borrowing QueueSource) -> Mapping? {
    if let mapping = lower.next() { return mapping }
    if position >= end { return nil }
    return nextPiece(source)
  }

  @inline(never)
  private mutating func nextPiece(_ source: borrowing QueueSource) -> Mapping? {
    guard let upper = source.upper else { return nil }
    var layer = source.upperLayer
    var piece = upper.piece(at: position, limit: end &- position)
    // Where the frozen layer has several pieces the upper is asked again for each.
    if piece.kind == .unmapped, let frozen = source.frozen {
      layer &-= 1
      piece = frozen.piece(at: position, limit: piece.sectors)
    }
    let start = position
    position &+= piece.sectors
    switch piece.kind {
    case .data:
      return Mapping(
        sectors: piece.sectors, blobSector: piece.blobSector, layer: layer, isZeroes: false)
    case .zeroes:
      return Mapping(sectors: piece.sectors, blobSector: 0, layer: 0, isZeroes: true)
    case .unmapped:
      lower = source.map.mappings(from: start, count: piece.sectors)
      return lower.next()
    }
  }
}
