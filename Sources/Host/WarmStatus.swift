/// What the server of a device says of its prefetch: the file `N.warm.json`, replaced while it changes.
public struct WarmStatus: StatusFile, Equatable, Sendable {
  /// Where the prefetch is.
  public enum State: String, Codable, Sendable {
    /// It fetches.
    case warming
    /// All that was wanted is here, and in the page cache if that was asked for.
    case warm
    /// It has ended, and something did not come.
    case incomplete
    /// A server before this one did it. This one holds the disk open: what was in its page cache when it came stays.
    case held
  }

  /// Where the prefetch is.
  public var state: State
  /// What warm means for this device.
  public var level = WarmOptions.Level.blob
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
  /// What is in the page cache; nil with ``WarmOptions/Level/blob``.
  public var pageCache: PageCache?
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

  /// What the server has read into the page cache of its device.
  public struct PageCache: Codable, Equatable, Sendable {
    /// Bytes of the disk that the traces name, in whole pages.
    public var wantedBytes: UInt64
    /// Of these, bytes that were read.
    public var filledBytes: UInt64
    /// Of these, bytes that could not be read.
    public var failedBytes: UInt64
    /// Milliseconds that it took, or takes so far.
    public var milliseconds: UInt64
    /// Whether the server holds the disk open, so that the pages stay when its users close it.
    public var isHeld: Bool
  }

  /// The part, of 100, of what is wanted that is here: bytes as stored, and bytes of the disk if they are wanted too.
  public var percent: UInt64 {
    let wanted = wantedBytes + (pageCache?.wantedBytes ?? 0)
    return (residentBytes + fetchedBytes + (pageCache?.filledBytes ?? 0)) * 100 / max(1, wanted)
  }

  /// At the start of a prefetch.
  public init(state: State) { self.state = state }

  /// What the next server says of a disk that this one holds for its page cache; nil when it does not. How much of it is still
  /// there nobody knows: where nobody had the disk open in between the kernel has dropped all.
  var afterHandOver: WarmStatus? {
    guard let pageCache, pageCache.isHeld else { return nil }
    var next = WarmStatus(state: .held)
    next.level = .pageCache
    next.pageCache = PageCache(
      wantedBytes: pageCache.wantedBytes, filledBytes: 0, failedBytes: 0, milliseconds: 0, isHeld: true)
    return next
  }

  /// With the grades of chunks only that came after `earlier`.
  func since(_ earlier: WarmStatus) -> WarmStatus {
    var change = self
    for grade in [\WarmStatus.hitChunks, \.lateChunks, \.wastedChunks, \.failedChunks, \.untracedChunks] {
      change[keyPath: grade] = self[keyPath: grade] - min(self[keyPath: grade], earlier[keyPath: grade])
    }
    return change
  }
}
