/// A layer that a trace speaks of. Two are the same layer when all of this is the same.
public struct TraceLayer: Hashable, Sendable {
  /// `sha256:HEX` as the image's configuration has it, or else `uuid:…` of the layer's LSMT trailer.
  public var identity: String
  /// Bytes of the layer's file as stored, tar included.
  public var size: UInt64
  /// Whether the file is compressed in blocks. Then ``TraceAccess/stored`` is the whole block that the device range is a
  /// part of; otherwise both ranges are equally long, byte for byte.
  public var isCompressed: Bool

  /// A layer by its facts.
  public init(identity: String, size: UInt64, isCompressed: Bool) {
    self.identity = identity
    self.size = size
    self.isCompressed = isCompressed
  }
}

/// A range that was read, and when that was first. It says where bytes are and nothing about what they are.
///
/// An access lies within one extent, and of a compressed layer within one block: what was read in one go may be many of them.
/// So a part of an access is known without the image that it was recorded on. 40 bytes in memory.
public struct TraceAccess: Equatable, Sendable, BitwiseCopyable {
  /// Microseconds from the start of the recording until the first byte was touched first.
  public var microseconds: UInt64
  private var deviceStart: UInt64
  private var storedStart: UInt64
  private var deviceCount: UInt32
  private var storedCount: UInt32
  /// How many recorded runs used it, at least 1.
  public var runs: UInt32
  /// One more than the layer's index; 0 is none.
  private var layerCode: UInt32

  /// The most bytes of a range, on the device and stored.
  public static let countMax = UInt64(UInt32.max)

  /// An access by its parts; ranges are at most ``countMax`` bytes, and one of them is not empty.
  ///
  /// - Parameters:
  ///   - device: bytes of the disk; empty for what only the layer has: its headers, its index, data that a higher layer hides.
  ///   - layer: index into ``AccessTrace/layers``; nil when it is not known, `stored` is then empty.
  ///   - stored: bytes of the layer's file as stored: compressed, the tar's header included, what a registry's ranged GET names.
  public init(microseconds: UInt64, device: Range<UInt64>, layer: Int?, stored: Range<UInt64>, runs: UInt32 = 1) {
    self.microseconds = microseconds
    deviceStart = device.isEmpty ? 0 : device.lowerBound
    deviceCount = UInt32(device.count64)
    layerCode = layer.map { UInt32($0 + 1) } ?? 0
    storedStart = stored.isEmpty ? 0 : stored.lowerBound
    storedCount = UInt32(stored.count64)
    self.runs = runs
  }

  /// Bytes of the disk. Empty for what only the layer has: its headers, its index, data that a higher layer hides.
  public var device: Range<UInt64> {
    Range(uncheckedBounds: (deviceStart, deviceStart &+ UInt64(deviceCount)))
  }
  /// Bytes of the layer's file as stored: compressed, the tar's header included, what a registry's ranged GET names. Empty
  /// when there is no ``layer``.
  public var stored: Range<UInt64> {
    Range(uncheckedBounds: (storedStart, storedStart &+ UInt64(storedCount)))
  }
  /// Index into ``AccessTrace/layers``; nil when it is not known.
  public var layer: Int? { layerCode == 0 ? nil : Int(layerCode) - 1 }
}

extension Range<UInt64> {
  /// Its length; `count` is an `Int`.
  @inline(__always)
  var count64: UInt64 { upperBound &- lowerBound }
}
