import BlobStore
import Posix
import Synchronization

extension RemoteLayers {
  /// What became of fetching whole layers.
  public struct Warmth: Sendable {
    /// Bytes of all remote layers.
    public var bytes: UInt64
    /// Of these, bytes that came from the registry now; the others were here.
    public var fetched: UInt64
    /// Requests for them.
    public var fetches: UInt64
    /// What did not come, one error for each piece.
    public var errors: [BlobError]
  }

  /// Brings all bytes of the remote layers of `image` to the cache and waits for it. `progress` is called about every
  /// 100 ms on the caller's thread.
  public func warm(_ image: Image, progress: (Progress) -> Void) -> Warmth {
    let blobs = image.layers.compactMap { $0.blob.remote?.blob }
    let total = blobs.reduce(0) { $0 + $1.size }
    let before = store.counters.snapshot
    let done = Counter()
    let end = OneShot<[BlobError]>()
    store.transfer(
      blobs, TransferPlan(fetchClass: .prefetch, stepBytes: 1 << 20, concurrency: 8),
      progress: { done.value.add($0, ordering: .relaxed) }, completion: { end.set($0) })
    var errors: [BlobError]?
    while errors == nil {
      errors = end.wait(Deadline(milliseconds: 100))
      progress(Progress(done: min(total, done.value.load(ordering: .relaxed)), total: total))
    }
    // Nobody else may be there to find out whether what has come is what was meant.
    store.finishChecks(Deadline(milliseconds: 10_000 + Int(clamping: total / 50_000)))
    let after = store.counters.snapshot
    return Warmth(
      bytes: total, fetched: after.fetchedBytes - before.fetchedBytes, fetches: after.fetches - before.fetches,
      errors: errors ?? [])
  }

  private final class Counter: Sendable {
    let value = Atomic<UInt64>(0)
  }
}
