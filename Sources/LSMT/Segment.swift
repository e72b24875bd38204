/// One entry of an index: where a run of device sectors is stored. The 16 bytes of the overlaybd LSMT format, in memory
/// as on disk.
///
///     word 0   bits 0..49 offset    bits 50..63 length
///     word 1   bits 0..54 moffset   bit 55 zeroed       bits 56..63 tag
@frozen
public struct Segment: Equatable, Sendable, BitwiseCopyable {
  @usableFromInline let word0: UInt64
  @usableFromInline let word1: UInt64

  /// Bytes of an entry on disk.
  public static let size = 16
  /// The longest run of one entry, sectors.
  public static let maxLength: UInt64 = 16383
  /// The largest value of the offset field. No entry maps this sector: the value marks padding.
  @inlinable public static var maxOffset: UInt64 { @inline(__always) get { (1 << 50) - 1 } }
  /// The largest blob sector.
  public static let maxMoffset: UInt64 = (1 << 55) - 1

  /// The entry that fills up an index; readers skip it.
  public static let padding = Segment(word0: maxOffset, word1: 0)

  /// An entry from its two words, in the byte order of the host.
  @inlinable
  public init(word0: UInt64, word1: UInt64) {
    self.word0 = word0
    self.word1 = word1
  }

  /// An entry from its fields; they must be within the limits of the format.
  public init(offset: UInt64, length: UInt32, moffset: UInt64, isZeroed: Bool = false, tag: UInt8 = 0) {
    precondition(offset <= Self.maxOffset && length <= Self.maxLength && moffset <= Self.maxMoffset)
    word0 = offset | UInt64(length) << 50
    word1 = moffset | (isZeroed ? 1 << 55 : 0) | UInt64(tag) << 56
  }

  /// First sector on the device.
  @inlinable public var offset: UInt64 { @inline(__always) get { word0 & Self.maxOffset } }
  /// Sectors, at most ``maxLength``.
  @inlinable public var length: UInt32 { @inline(__always) get { UInt32(truncatingIfNeeded: word0 &>> 50) } }
  /// The sector after the last one on the device.
  @inlinable public var end: UInt64 {
    @inline(__always) get { (word0 & Self.maxOffset) &+ (word0 &>> 50) }
  }
  /// First sector in the layer's blob. A zeroed entry has one too, though nothing is stored there.
  @inlinable public var moffset: UInt64 { @inline(__always) get { word1 & ((1 << 55) - 1) } }
  /// Whether the sectors read as zeroes, whatever lower layers have there.
  @inlinable public var isZeroed: Bool { @inline(__always) get { word1 & (1 << 55) != 0 } }
  /// In a ``SegmentMap``: the number of the layer, 0 = bottom. On disk it means nothing in the layers read here.
  @inlinable public var tag: UInt8 { @inline(__always) get { UInt8(truncatingIfNeeded: word1 &>> 56) } }
  /// Whether readers skip it.
  @inlinable public var isPadding: Bool { @inline(__always) get { offset == Self.maxOffset } }

  /// The sector after the last one in the blob: nothing is stored for a zeroed entry.
  var moffsetEnd: UInt64 { isZeroed ? moffset : moffset + UInt64(length) }

  /// The part that maps device sectors `start..<end`, which must lie within the entry.
  @inline(__always)
  func trimmed(from start: UInt64, to end: UInt64) -> Segment {
    let skipped = isZeroed ? 0 : start &- offset
    // An unchecked log entry may end beyond the largest blob sector; the sum must not reach the flag above it.
    let moved = (moffset &+ skipped) & Self.maxMoffset
    return Segment(word0: start | (end &- start) &<< 50, word1: word1 & ~Self.maxMoffset | moved)
  }

  /// The same entry with another tag.
  @inline(__always)
  func tagged(_ tag: UInt8) -> Segment {
    Segment(word0: word0, word1: word1 & ((1 << 56) - 1) | UInt64(tag) &<< 56)
  }
}

extension RawSpan {
  /// The entry at `offset`, which must lie within the span.
  @inline(__always)
  func segment(at offset: Int) -> Segment {
    Segment(
      word0: littleEndian(at: offset, as: UInt64.self), word1: littleEndian(at: offset + 8, as: UInt64.self))
  }
}
