import BlobStore
import FoundationEssentials
import Image
import Posix
import Registry

/// What the server of a device with remote layers says of them once a second: the file `N.remote.json`.
public struct RemoteStatus: Codable, Equatable, Sendable {
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

  /// Reads the file at `path`; nil where there is none, or it is damaged: it is for looking at only.
  static func read(_ path: String) -> RemoteStatus? {
    guard let bytes = try? readFile(path, limit: 1 << 16) else { return nil }
    return try? JSONDecoder().decode(RemoteStatus.self, from: Data(bytes))
  }

  /// Replaces the file at `path`.
  func write(_ path: String) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let bytes = try? [UInt8](encoder.encode(self)) else { return }
    try? writeFileAtomically(path, bytes + [UInt8(ascii: "\n")])
  }
}
