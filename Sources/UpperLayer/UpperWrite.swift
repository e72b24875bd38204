import LSMT

/// HOT: bytes for consecutive sectors of a device.
@frozen
public struct UpperWrite: BitwiseCopyable, @unchecked Sendable {
  /// The first sector.
  public var sector: UInt64
  /// The bytes, a whole number of sectors; they must not change until the write returns.
  public var bytes: UnsafeRawBufferPointer

  /// From its fields.
  @inlinable
  public init(sector: UInt64, bytes: UnsafeRawBufferPointer) {
    self.sector = sector
    self.bytes = bytes
  }

  @inline(__always)
  var sectors: UInt64 { UInt64(UInt(bitPattern: bytes.count)) / UInt64(sectorSize) }

  @inline(__always)
  var isWhole: Bool { bytes.count % sectorSize == 0 }
}
