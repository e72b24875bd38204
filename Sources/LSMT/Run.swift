/// An entry of a ``SegmentMap``: device sectors that are read as one. It begins where the one before it ends, the first at
/// sector 0; what no layer maps is zeroes like what a layer says to be zeroes.
///
/// It says where it ends and not where it begins, so that a lookup needs to look at no other run than the one it finds.
@frozen
public struct Run: Equatable, Sendable, BitwiseCopyable {
  /// The sector after the last one on the device.
  public let end: UInt64
  /// Bits 0..54: blob sector less device sector, modulo 2^55; bit 55: zeroes; bits 56..63: layer. The same for neighbours
  /// that can be read as one, and nothing but bit 55 for zeroes.
  @usableFromInline let source: UInt64

  @usableFromInline static var zeroes: UInt64 { @inlinable @inline(__always) get { 1 << 55 } }

  init(end: UInt64, source: UInt64) {
    self.end = end
    self.source = source
  }

  /// Whether the sectors read as zeroes: mapped as such, or not mapped at all.
  @inlinable public var isZeroes: Bool { @inline(__always) get { source & Self.zeroes != 0 } }
  /// The layer that has the data, 0 = bottom; 0 for zeroes.
  @inlinable public var layer: UInt8 { @inline(__always) get { UInt8(truncatingIfNeeded: source &>> 56) } }

  /// Where device sector `sector`, which is in the run, is stored in the layer's blob, sectors; 0 for zeroes.
  @inlinable
  @inline(__always)
  public func blobSector(of sector: UInt64) -> UInt64 {
    isZeroes ? 0 : (source &+ sector) & (Self.zeroes &- 1)
  }

  /// Writes what merged `segments` amount to and returns how many runs that is, at least 1 and at most one more than twice
  /// the segments. The last run is zeroes without end. Without `output` it only counts.
  static func write(_ segments: [Segment], to output: UnsafeMutablePointer<Run>?) -> Int {
    var count = 0
    var reached: UInt64 = 0
    var last: UInt64?
    func append(end: UInt64, _ source: UInt64) {
      if source != last { count += 1 }
      if let output { (output + count - 1).initialize(to: Run(end: end, source: source)) }
      reached = end
      last = source
    }
    for segment in segments {
      if segment.offset > reached { append(end: segment.offset, zeroes) }
      append(end: segment.end, segment.source)
    }
    append(end: .max, zeroes)
    return count
  }
}

extension Segment {
  /// The ``Run/source`` of a run that the segment, whose tag is its layer, is part of.
  fileprivate var source: UInt64 {
    isZeroed ? Run.zeroes : (moffset &- offset) & (Run.zeroes - 1) | UInt64(tag) << 56
  }
}
