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

/// HOT: walks the mappings of a device range in order, without gaps. Neighbours that can be read as one are one mapping,
/// for so they are in the map.
@frozen
public struct MappingCursor: BitwiseCopyable, @unchecked Sendable {
  /// The run that `position` is in; not to be looked at when `position` has reached `end`.
  @usableFromInline var run: UnsafePointer<Run>
  /// The first sector that no mapping was returned for.
  @usableFromInline var position: UInt64
  @usableFromInline let end: UInt64

  @inlinable
  @inline(__always)
  init(run: UnsafePointer<Run>, position: UInt64, end: UInt64) {
    self.run = run
    self.position = position
    self.end = end
  }

  /// The next mapping; nil at the end of the range.
  @inlinable
  @inline(__always)
  public mutating func next() -> Mapping? {
    let start = position
    if start >= end { return nil }
    let current = run.pointee
    run += 1
    position = min(current.end, end)
    return Mapping(
      sectors: position &- start, blobSector: current.blobSector(of: start), layer: current.layer,
      isZeroes: current.isZeroes)
  }
}
