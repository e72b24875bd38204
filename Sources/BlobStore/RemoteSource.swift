import Posix

/// A blob of a registry, who brings its bytes, and how long one may wait for them.
public struct RemoteSource: Sendable {
  /// The blob.
  public let blob: RemoteBlob
  /// Who brings its bytes.
  public let store: BlobStore
  /// Milliseconds that a read may take.
  public let patience: Int

  /// All parts.
  public init(blob: RemoteBlob, store: BlobStore, patience: Int) {
    self.blob = blob
    self.store = store
    self.patience = patience
  }

  /// Asks for bytes without waiting for them: their reader will find them, or wait less.
  public func ask(_ range: Range<UInt64>) {
    let part = range.clamped(to: 0..<blob.size)
    if part.isEmpty { return }
    store.want(blob, part, .demand, deadline: Deadline(milliseconds: patience)) { _ in }
  }
}
