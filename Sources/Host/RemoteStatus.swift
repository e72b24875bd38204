import BlobStore
import Image
import Registry

/// What the server of a device with remote layers says of them once a second: the file `N.remote.json`.
public struct RemoteStatus: StatusFile, Equatable, Sendable {
  /// What its store has done since the start.
  public var counts: StoreSnapshot
  /// The folder of the cache; nil without one.
  public var cache: String?
  /// What is wrong with a registry at the moment: which one, with which blob, and why; nil when nothing is.
  public var trouble: String?

  /// By its parts.
  init(counts: StoreSnapshot, cache: String? = nil, trouble: String? = nil) {
    self.counts = counts
    self.cache = cache
    self.trouble = trouble
  }

  /// As `remote` is now.
  init(_ remote: RemoteLayers) {
    counts = remote.store.counters.snapshot
    cache = remote.store.cache?.path
    trouble = remote.lastTrouble.map { "\($0)" }
  }
}
