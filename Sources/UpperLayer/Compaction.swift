/// How far a compaction is.
public struct CompactionProgress: Equatable, Sendable {
  /// Bytes of the data file that nothing maps, in whole pages of 4096.
  public var deadBytes: UInt64 = 0
  /// Bytes of them that were looked at.
  public var doneBytes: UInt64 = 0
  /// Bytes of them that were stored and are given back.
  public var freedBytes: UInt64 = 0
}

/// What a compaction came to.
public struct CompactionReport: Equatable, Sendable {
  /// How it ended.
  public enum Outcome: String, Equatable, Sendable {
    /// All that was garbage when it began is given back.
    case complete
    /// It was told to stop, or the layer was closed or sealed. What was done holds.
    case cancelled
    /// Writes that were under way when it began did not end in time: nothing was given back.
    case writersDidNotEnd
    /// Reads that were under way did not end in time: nothing was given back.
    case readersDidNotEnd
  }

  /// How it ended.
  public var outcome: Outcome = .complete
  /// What was given back, and of how much.
  public var progress = CompactionProgress()
  /// Entries of the index file before, with what was pending.
  public var indexEntriesBefore: UInt64 = 0
  /// Entries of the index file when it had been flushed.
  public var indexEntriesAfter: UInt64 = 0
}
