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
    if position >= end { return nil }
    let current = segment.pointee
    if current.offset > position || current.isZeroed { return nextZeroes() }
    return nextData(current)
  }

  /// A run of zeroes from `position`, up to the next data.
  @inlinable
  mutating func nextZeroes() -> Mapping {
    let start = position
    var reached = position
    while reached < end {
      let current = segment.pointee
      if current.offset > reached {
        reached = current.offset
      } else if current.isZeroed {
        reached = current.end
        segment += 1
      } else {
        break
      }
    }
    position = min(reached, end)
    return Mapping(sectors: position &- start, blobSector: 0, layer: 0, isZeroes: true)
  }

  /// The data of segment `current`, which maps `position`, and what follows it in the same layer.
  @inlinable
  @inline(__always)
  mutating func nextData(_ current: Segment) -> Mapping {
    let start = position
    let blobSector = current.moffset &+ (start &- current.offset)
    var reached = current.end
    while reached < end {
      segment += 1
      let following = segment.pointee
      // Same layer, data, and the blob sector at which the run would go on: one comparison of the whole word.
      let expected = UInt64(current.tag) &<< 56 | (blobSector &+ (reached &- start))
      if following.offset != reached || following.word1 != expected { break }
      reached = following.end
    }
    position = min(reached, end)
    return Mapping(sectors: position &- start, blobSector: blobSector, layer: current.tag, isZeroes: false)
  }
}
