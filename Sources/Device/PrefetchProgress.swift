import BlobStore

/// How far a prefetch is.
public struct PrefetchProgress: Sendable, Equatable {
  /// Bytes of remote layers that are wanted, gaps between them included.
  public var wantedBytes: UInt64 = 0
  /// Of these, bytes that were here when their turn came.
  public var residentBytes: UInt64 = 0
  /// Of these, bytes that came for them.
  public var fetchedBytes: UInt64 = 0
  /// Milliseconds so far, or that the first round took.
  public var milliseconds: UInt64 = 0
  /// Whether everything has been attempted once: what did not come then is tried again, but nobody should wait for it.
  public var hasEnded = false
  /// Whether nothing is under way or will be tried again.
  public var isOver = false
  /// What failed last; nil when nothing did.
  public var lastError: BlobError?

  /// Bytes of what is wanted that are here.
  public var hereBytes: UInt64 { residentBytes + fetchedBytes }
  /// Whether all of it is.
  public var isWarm: Bool { hereBytes >= wantedBytes }
}
