/// What one queue has done since it began: plain numbers, written by its thread alone. A reader may see one request
/// half counted, never a torn number.
public struct QueueCounters: BitwiseCopyable, Sendable {
  /// Requests that arrived.
  public var requests: UInt64 = 0
  /// Bytes that were read.
  public var bytes: UInt64 = 0
  /// Requests that were answered with an error.
  public var errors: UInt64 = 0
  /// Failures; one request may have several.
  public var failures: UInt64 = 0
  /// Where the last failure was: a byte offset in the layer's file, or as `Failure` says.
  public var lastOffset: UInt64 = 0
  /// Its error number; 0 where the file ended too early or a block was damaged.
  public var lastCode: Int32 = 0
  /// Its layer, 0 the bottom.
  public var lastLayer: UInt8 = 0
  /// Its `Failure`.
  public var lastKind: UInt8 = 0
  /// Bytes that were written.
  public var writtenBytes: UInt64 = 0
  /// FLUSHes, and WRITEs that went through the cache.
  public var flushes: UInt64 = 0

  /// What a queue can fail at.
  public enum Failure: UInt8, Sendable {
    case none = 0
    /// A layer's file could not be read, or ended too early.
    case read = 1
    /// A compressed block is damaged: its checksum or its content. The offset is where the block is stored.
    case decode = 2
    /// The kernel refused data for a request. The offset is one of the request.
    case copy = 3
    /// A request that the disk does not get from a block layer that knows it. The offset is one of the device.
    case request = 4
    /// The driver refused an answer. The offset is the tag.
    case command = 5
    /// Bytes of a remote layer did not come. The offset is one of the blob, the code says why.
    case fetch = 6
    /// The upper did not take what was to be written. The offset is one of the device.
    case write = 7
    /// What was written could not be made durable.
    case flush = 8
    /// Sectors could not be made zeroes, by WRITE_ZEROES or DISCARD. The offset is one of the device.
    case zero = 9
  }

  /// All zero.
  public init() {}

  mutating func fail(_ kind: Failure, layer: UInt8, offset: UInt64, code: Int32) {
    failures &+= 1
    lastKind = kind.rawValue
    lastLayer = layer
    lastOffset = offset
    lastCode = code
  }
}
