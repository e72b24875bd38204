import Posix
import Synchronization

/// Chunks that other processes are fetching: looked at every millisecond while somebody here waits for one. There is no
/// wake-up between processes that would survive the death of the one that has to send it.
extension BlobStore {
  /// How long a process that has claimed a chunk may take for it, or for one of those before it, milliseconds. It may
  /// be stopped.
  private static let patience = 2000
  /// How long when the last one that was waited for had not got on.
  private static let shortPatience = 20
  /// How long that is remembered.
  private static let grudge = 10_000
  /// Looks between attempts to claim what is missing: only they cost a system call.
  private static let looksPerClaim = 4

  /// Watches a chunk that another process has claimed.
  func watch(_ blob: RemoteBlob, _ chunk: Int, _ waiters: [Waiter], _ fetchClass: FetchClass) {
    let isImpatient = !(blob.traffic.impatientUntil?.hasPassed ?? true)
    var foreign =
      blob.traffic.foreign[chunk]
      ?? Foreign(
        waiters: [], fetchClass: fetchClass,
        patience: Deadline(milliseconds: isImpatient ? Self.shortPatience : Self.patience),
        before: presentBefore(blob, chunk))
    foreign.waiters += waiters
    foreign.fetchClass = max(foreign.fetchClass, fetchClass)
    blob.traffic.foreign[chunk] = foreign
    watched[ObjectIdentifier(blob)] = blob
    lookSoon()
  }

  /// One more waits for a chunk that is watched.
  func join(foreign chunk: Int, _ waiter: Waiter) {
    guard var foreign = waiter.blob.traffic.foreign[chunk] else { return }
    foreign.waiters.append(waiter)
    foreign.fetchClass = max(foreign.fetchClass, waiter.fetchClass)
    waiter.blob.traffic.foreign[chunk] = foreign
  }

  private func lookSoon() {
    if isWatching { return }
    isWatching = true
    loop.after(milliseconds: 1) { [weak self] in
      guard let self else { return }
      isWatching = false
      looks &+= 1
      for blob in watched.values { look(at: blob, claims: looks % Self.looksPerClaim == 0) }
      watched = watched.filter { !$0.value.traffic.foreign.isEmpty }
      if !watched.isEmpty, !isStopped { lookSoon() }
    }
  }

  private func look(at blob: RemoteBlob, claims: Bool) {
    var come: [Waiter] = []
    var free: [Int: Foreign] = [:]
    var stuck: [Int: Foreign] = [:]
    for (chunk, foreign) in blob.traffic.foreign {
      if foreign.waiters.allSatisfy(\.isDone) {
        blob.traffic.foreign[chunk] = nil
      } else if isHere(blob, chunk) {
        blob.traffic.foreign[chunk] = nil
        come += foreign.waiters
      } else if claims, isFree(blob, chunk) {
        free[chunk] = foreign
      } else if foreign.patience.hasPassed, !renewPatience(blob, chunk) {
        stuck[chunk] = foreign
        blob.traffic.impatientUntil = Deadline(milliseconds: Self.grudge)
      }
    }
    fly(blob, free, isPrivate: false)
    fly(blob, stuck, isPrivate: true)
    arrived(come)
  }

  /// Whether nobody has claimed a chunk any more: the other one gave up or died.
  private func isFree(_ blob: RemoteBlob, _ chunk: Int) -> Bool {
    guard let cached = blob.cached else { return true }
    guard cached.claim(chunk..<chunk + 1) else { return false }
    cached.release(chunk..<chunk + 1)
    return true
  }

  /// Waits on if chunks before it have come, as they arrive in order.
  private func renewPatience(_ blob: RemoteBlob, _ chunk: Int) -> Bool {
    let before = presentBefore(blob, chunk)
    guard let old = blob.traffic.foreign[chunk]?.before, before > old else { return false }
    blob.traffic.foreign[chunk]?.before = before
    blob.traffic.foreign[chunk]?.patience = Deadline(milliseconds: Self.patience)
    return true
  }

  private func presentBefore(_ blob: RemoteBlob, _ chunk: Int) -> Int {
    guard let cached = blob.cached else { return 0 }
    return (max(0, chunk - Flight.chunksMax)..<chunk).reduce(0) { $0 + (cached.view.word($1).isPresent ? 1 : 0) }
  }

  /// Starts flights for chunks that were watched.
  private func fly(_ blob: RemoteBlob, _ chunks: [Int: Foreign], isPrivate: Bool) {
    for run in runs(chunks.keys.sorted(), limit: Flight.chunksMax) {
      let flight = Flight(blob, run, run.map { chunks[$0]!.fetchClass }.max()!, isPrivate: isPrivate)
      for chunk in run {
        blob.traffic.foreign[chunk] = nil
        flight.waiters[chunk] = chunks[chunk]!.waiters
      }
      enqueue(flight)
    }
  }
}
