import BlobStore
import LSMT

/// A request that is being served. One per tag.
struct RequestState: BitwiseCopyable {
  /// What of the range is still to be looked at.
  var cursor: SourceCursor
  /// The mapping that was only partly started, because the tag's operations or scratch memory were used up.
  var rest: Mapping
  /// Bytes of the request that have been started or served.
  var position: UInt32
  /// Bytes of the request.
  var bytes: UInt32
  /// Bytes of the tag's scratch memory in use.
  var scratchUsed: UInt32
  /// Operations in flight: a bit each.
  var operations: UInt8
  /// Whether `rest` holds something.
  var hasRest: Bool
  /// Whether something failed; the request then ends with an error when nothing of it is in flight any more.
  var hasFailed: Bool
  /// Whether bytes of it had to be brought first.
  var hasWaited: Bool
  /// When it arrived, as `monotonicNanoseconds` tells it; 0 for a read that is not timed.
  var arrival: UInt64

  /// Operations that a tag may have in flight.
  static let operationsMax = 8
}

/// A read in flight.
struct Operation: BitwiseCopyable {
  /// The layer, 0 the bottom.
  var layer: UInt8
  /// Whether the bytes are compressed blocks in the tag's scratch memory.
  var isCompressed: Bool
  /// Bytes to read from the file.
  var count: UInt32
  /// Bytes that have been read.
  var done: UInt32
  /// Where they lie in the file, bytes.
  var fileOffset: UInt64
  /// Where they go in the tag's scratch memory; compressed only.
  var scratch: UInt32
  /// Where the result goes in the request, bytes.
  var position: UInt32
  /// Bytes of the request that the operation serves.
  var length: UInt32
  /// Where those bytes lie in the layer's blob space.
  var blobOffset: UInt64
  /// Of a remote layer: the lease under which its bytes are read.
  var lease: BlobView.Lease? = nil
  /// How often its bytes were asked for.
  var attempts: UInt8 = 0
  /// How often its bytes were found damaged and asked for anew.
  var repairs: UInt8 = 0

  /// Bytes that were brought and dropped again before they were read, so often, mean a cache far too small.
  static let attemptsMax: UInt8 = 100
  /// Once is enough for what is damaged on this machine, and useless for what comes damaged. But where others repair a part of
  /// the same bytes meanwhile, what was read is not what is there any more, and nothing is dropped.
  static let repairsMax: UInt8 = 8
}
