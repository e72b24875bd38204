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
    guard fullPause?.hasPassed ?? true else { return }
    fullPause = Deadline(milliseconds: 1000)
    report(.refused(blob: blob.name, error))
    if let cache, error == .noSpace || error == .quota { makeRoom(cache, isFull: true) }
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
    guard let cache, blob.cached != nil else { return }
    checker.perform { [weak self, isStopped = checker.isStopped] in
      do throws(BlobError) {
        if !blob.isTrusted {
          guard let found = try cache.verify(blob.location.hex, alone: true, isStopped: isStopped) else { return }
          self?.note(found, of: blob)
        }
        guard blob.isTrusted, let path = blob.unpublishedPath, !isStopped() else { return }
        if try !blob.publish(path, isStopped: isStopped), !isStopped() {
          // What was trusted once is not whole now.
          if let found = try cache.verify(blob.location.hex, isStopped: isStopped) { self?.note(found, of: blob) }
        }
      } catch {
        self?.report(.troubled(error))
      }
    }
  }

  private func note(_ found: NodeCache.Verification, of blob: RemoteBlob) {
    counters.repairsAtomic.add(UInt64(found.damaged), ordering: .relaxed)
    if found.damaged > 0 { report(.damaged(blob: blob.name, chunks: found.damaged)) }
    if found.isTrusted { return report(.complete(blob: blob.name)) }
    let wrong = found.sha256.flatMap { $0 == blob.location.hex ? nil : $0 }
    if let wrong { report(.wrong(blob: blob.name, found: wrong)) }
    loop.perform { [wrongPause] in
      blob.forgetComplete()
      if let wrong { blob.traffic.wrong = (wrong, Deadline(milliseconds: wrongPause)) }
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
  /// Chunks of a complete blob were not what was stored, and were dropped.
  case damaged(blob: String, chunks: Int)
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
    case .damaged(let blob, let chunks): "\(blob): \(chunks) of the cache's chunks were damaged; they were dropped"
    case .complete(let blob): "\(blob): complete, and it has its sha256"
    case .wrong(let blob, let found):
      "\(blob): complete, but its sha256 is \(found): all of it was dropped; the registry, or something on the way, "
        + "sends wrong bytes; it is asked again in a minute, and until then reads of what is gone fail"
    case .troubled(let error): "\(error)"
    }
  }

  /// Whether somebody should look after it.
  public var isTrouble: Bool {
    switch self {
    case .madeRoom, .complete: false
    case .refused, .repaired, .damaged, .wrong, .troubled: true
    }
  }
}
