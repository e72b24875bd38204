import Posix
import Registry

/// What becomes of the cache as a whole while chunks come in.
extension BlobStore {
  /// A chunk went into the cache. Now and then its size is looked at: whenever a sixteenth of the limit has come.
  func noteStored(_ blob: RemoteBlob, _ bytes: Int) {
    sinceRoomWasMade += UInt64(bytes)
    if let cache, sinceRoomWasMade > min(64 << 20, cache.limit / 16) { makeRoom(cache, isFull: false) }
    if blob.noteComplete() { checkWhole(blob) }
  }

  /// The cache did not take a chunk. On a full disk old chunks go, at most once a second.
  func noteRefused(_ blob: RemoteBlob, _ error: Errno) {
    report(.refused(blob: blob.name, error))
    guard let cache, error == .noSpace || error == .quota, fullPause?.hasPassed ?? true else { return }
    fullPause = Deadline(milliseconds: 1000)
    makeRoom(cache, isFull: true)
  }

  private func makeRoom(_ cache: NodeCache, isFull: Bool) {
    sinceRoomWasMade = 0
    keeper.perform { [weak self] in
      do throws(BlobError) {
        let freed = try cache.makeRoom(isFull: isFull)
        if freed > 0 { self?.report(.madeRoom(bytes: freed)) }
      } catch {
        self?.report(.troubled(error))
      }
    }
  }

  /// All chunks of a blob are in the cache: whether they are the blob is found out once for the node.
  func checkWhole(_ blob: RemoteBlob) {
    guard let cached = blob.cached else { return }
    keeper.perform { [weak self] in
      guard let self else { return }
      do throws(BlobError) {
        switch try cached.checkWhole(blob, isStopped: { self.keeper.isStopped }) {
        case .isBlob:
          report(.complete(blob: blob.name))
          try blob.publish(isStopped: { self.keeper.isStopped })
        case .isAnother(let digest):
          report(.wrong(blob: blob.name, found: digest))
        case .undecided: break
        }
      } catch {
        report(.troubled(error))
      }
    }
  }

  /// Says something to whoever listens.
  func report(_ event: StoreEvent) { listener.withLock { $0 }?(event) }
}

/// Something that happened to the cache and that a log should have.
public enum StoreEvent: Sendable, CustomStringConvertible {
  /// The cache did not take a chunk: it is read past it.
  case refused(blob: String, Errno)
  /// Chunks of the cache were dropped.
  case madeRoom(bytes: UInt64)
  /// A chunk of the cache was not what was stored, and is fetched again.
  case repaired(blob: String, offset: UInt64)
  /// All of a blob is here, and it is that blob.
  case complete(blob: String)
  /// All of a blob was here and had another digest: all of it was dropped.
  case wrong(blob: String, found: String)
  /// Work on the cache failed; reads are not concerned.
  case troubled(BlobError)

  /// In words.
  public var description: String {
    switch self {
    case .refused(let blob, let error): "\(blob): the cache does not take it: \(error); it is read past the cache"
    case .madeRoom(let bytes): "the cache was full: \(bytes) bytes that were not read for the longest time were dropped"
    case .repaired(let blob, let offset): "\(blob): the cache's bytes at \(offset) were damaged; they are fetched again"
    case .complete(let blob): "\(blob): complete, and it has its sha256"
    case .wrong(let blob, let found):
      "\(blob): complete, but its sha256 is \(found): all of it was dropped; the registry, or something on the way, "
        + "sends wrong bytes"
    case .troubled(let error): "\(error)"
    }
  }

  /// Whether somebody should look after it.
  public var isTrouble: Bool {
    switch self {
    case .madeRoom, .complete: false
    case .refused, .repaired, .wrong, .troubled: true
    }
  }
}
