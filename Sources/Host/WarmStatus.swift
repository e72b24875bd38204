/// What the server of a device says of its prefetch: the file `N.warm.json`, replaced while it changes.
public struct WarmStatus: StatusFile, Equatable, Sendable {
  /// Where the prefetch is.
  public enum State: String, Codable, Sendable {
    /// It fetches.
    case warming
    /// All that was wanted is here.
    case warm
    /// It has ended, and something did not come.
    case incomplete
  }

  /// Where the prefetch is.
  public var state: State
  /// Bytes, as stored, that the traces name.
  public var wantedBytes: UInt64 = 0
  /// Of these, bytes that were here before.
  public var residentBytes: UInt64 = 0
  /// Bytes that it has fetched.
  public var fetchedBytes: UInt64 = 0
  /// Bytes of the chunks that did not come: 0 when these are.
  public var failedBytes: UInt64 = 0
  /// Bytes that the traces name in layers that are files of this machine: they are not among those that are wanted.
  public var localBytes: UInt64 = 0
  /// Requests for them.
  public var requests: UInt64 = 0
  /// Milliseconds that it took, or takes so far.
  public var milliseconds: UInt64 = 0
  /// Chunks, of 1 KiB as stored, that were read after they were here.
  public var hitChunks: UInt64 = 0
  /// Chunks that a read wanted while they were on the way.
  public var lateChunks: UInt64 = 0
  /// Chunks that are here and were not read so far; they may still be.
  public var unreadChunks: UInt64 = 0
  /// Chunks that were here and not read within a minute.
  public var wastedChunks: UInt64 = 0
  /// Chunks that did not come.
  public var failedChunks: UInt64 = 0
  /// Chunks that a read had to wait for and no trace named.
  public var untracedChunks: UInt64 = 0
  /// What failed last; nil when nothing did.
  public var trouble: String?

  /// At the start of a prefetch.
  public init(state: State) { self.state = state }

  /// With the grades of chunks only that came after `earlier`.
  func since(_ earlier: WarmStatus) -> WarmStatus {
    var change = self
    for grade in [\WarmStatus.hitChunks, \.lateChunks, \.wastedChunks, \.failedChunks, \.untracedChunks] {
      change[keyPath: grade] = self[keyPath: grade] - min(self[keyPath: grade], earlier[keyPath: grade])
    }
    return change
  }
}
