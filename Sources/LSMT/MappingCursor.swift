/// HOT: a run of device sectors that come from one place.
@frozen
public struct Mapping: Equatable, Sendable, BitwiseCopyable {
  /// Sectors of the run, at least 1.
  public let sectors: UInt64
  /// Where the run begins in the layer's blob, sectors; 0 for zeroes.
  public let blobSector: UInt64
  /// The layer that has the data, 0 = bottom; 0 for zeroes.
  public let layer: UInt8
  /// Whether the sectors read as zeroes: mapped as such, or not mapped at all.
  public let isZeroes: Bool

  /// A run from its fields.
  @inlinable
  @inline(__always)
  public init(sectors: UInt64, blobSector: UInt64, layer: UInt8, isZeroes: Bool) {
    self.sectors = sectors
    self.blobSector = blobSector
    self.layer = layer
    self.isZeroes = isZeroes
  }
}

/// HOT: walks the mappings of a device range in order, without gaps. Neighbours that can be read as one are one mapping:
/// runs of zeroes, and segments that are contiguous in the same layer.
@frozen
public struct MappingCursor: BitwiseCopyable, @unchecked Sendable {
  /// The first segment that ends after `position`; the padding after the last one if there is none.
  @usableFromInline var segment: UnsafePointer<Segment>
  /// The first sector that no mapping was returned for.
  @usableFromInline var position: UInt64
  @usableFromInline let end: UInt64

  @inlinable
  @inline(__always)
  init(next segment: UnsafePointer<Segment>, position: UInt64, end: UInt64) {
    self.segment = segment
    self.position = position
    self.end = end
  }

  /// The next mapping; nil at the end of the range.
  @inlinable
  @inline(__always)
  public mutating func next() -> Mapping? {
    let start = position
    if start >= end { return nil }
    // Data or zeroes, hole or segment: no jump depends on it, because no processor could predict that jump.
    let current = segment.pointee
    let isHole = current.offset > start
    let isZeroes = isHole || current.isZeroed
    let blobSector = isZeroes ? 0 : current.moffset &+ (start &- current.offset)
    let layer = isZeroes ? 0 : current.tag
    var reached = isHole ? current.offset : current.end
    segment += isHole ? 0 : 1
    if reached < end {
      reached = isZeroes ? endOfZeroes(from: reached) : endOfData(from: reached, blobSector &- start, layer)
    }
    position = min(reached, end)
    return Mapping(sectors: position &- start, blobSector: blobSector, layer: layer, isZeroes: isZeroes)
  }

  /// Where a run of zeroes ends that has reached sector `reached`.
  @inlinable
  @inline(__always)
  mutating func endOfZeroes(from reached: UInt64) -> UInt64 {
    var reached = reached
    while reached < end {
      let following = segment.pointee
      if following.offset > reached {
        reached = following.offset
      } else if following.isZeroed {
        reached = following.end
        segment += 1
      } else {
        break
      }
    }
    return reached
  }

  /// Where a run of data ends that has reached sector `reached`. `distance` is from a sector to its blob sector.
  @inlinable
  @inline(__always)
  mutating func endOfData(from reached: UInt64, _ distance: UInt64, _ layer: UInt8) -> UInt64 {
    var reached = reached
    while reached < end {
      let following = segment.pointee
      // Same layer, data, and the blob sector at which the run would go on: one comparison of the whole word.
      let expected = UInt64(layer) &<< 56 | (reached &+ distance)
      if following.offset != reached || following.word1 != expected { break }
      reached = following.end
      segment += 1
    }
    return reached
  }
}
