/// HOT: what some sectors of a device are in a writable layer.
@frozen
public struct UpperPiece: Equatable, Sendable, BitwiseCopyable {
  /// Where the sectors are.
  @frozen
  public enum Kind: UInt8, Sendable {
    /// In the layer's data file.
    case data
    /// Nowhere: they read as zeroes, whatever lower layers have.
    case zeroes
    /// Not in this layer: lower layers show through.
    case unmapped
  }

  /// Where the sectors are.
  public let kind: Kind
  /// Sectors, at least 1.
  public let sectors: UInt64
  /// The first of them in the data file, sectors; 0 unless it is data.
  public let blobSector: UInt64

  /// A piece from its fields.
  @inlinable
  @inline(__always)
  public init(kind: Kind, sectors: UInt64, blobSector: UInt64) {
    self.kind = kind
    self.sectors = sectors
    self.blobSector = blobSector
  }
}

/// What the sectors of a piece are, in one word: the same for neighbours that can be read as one.
///
/// Bits 0..54: blob sector less device sector, modulo 2^55. Bit 62: zeroes. Bit 63: data. Nothing at all: unmapped, as
/// untouched memory says.
@usableFromInline
@frozen
struct UpperValue: Equatable, Sendable, BitwiseCopyable {
  @usableFromInline let rawValue: UInt64

  @inlinable
  @inline(__always)
  init(rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable static var unmapped: UpperValue { @inline(__always) get { UpperValue(rawValue: 0) } }
  @inlinable static var zeroes: UpperValue { @inline(__always) get { UpperValue(rawValue: 1 << 62) } }
  @inlinable static var distanceMask: UInt64 { @inline(__always) get { (1 << 55) - 1 } }

  init(_ segment: Segment) {
    self =
      segment.isZeroed
      ? .zeroes : UpperValue(rawValue: 1 << 63 | (segment.moffset &- segment.offset) & Self.distanceMask)
  }

  @inlinable var isData: Bool { @inline(__always) get { rawValue >> 63 != 0 } }
  @inlinable var isMapped: Bool { @inline(__always) get { rawValue != 0 } }

  /// Where device sector `sector` is in the data file; only for data.
  @inlinable
  @inline(__always)
  func blobSector(of sector: UInt64) -> UInt64 { (rawValue &+ sector) & Self.distanceMask }

  /// `sectors` sectors from device sector `sector`.
  @inlinable
  @inline(__always)
  func piece(at sector: UInt64, sectors: UInt64) -> UpperPiece {
    if isData { return UpperPiece(kind: .data, sectors: sectors, blobSector: blobSector(of: sector)) }
    return UpperPiece(kind: isMapped ? .zeroes : .unmapped, sectors: sectors, blobSector: 0)
  }
}
