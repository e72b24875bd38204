import Posix
import Synchronization

/// Chunks that other processes are fetching: looked at every millisecond while somebody here waits for one. There is no
/// wake-up between processes that would survive the death of the one that has to send it.
extension BlobStore {
  /// How long a process may take for a chunk that it has claimed, milliseconds. It may be stopped.
  private static let patience = 2000

  /// Watches a chunk that another process has claimed.
  func watch(_ blob: RemoteBlob, _ chunk: Int, _ waiters: [Waiter], _ fetchClass: FetchClass) {
    var foreign =
      blob.traffic.foreign[chunk]
      ?? Foreign(waiters: [], fetchClass: fetchClass, patience: Deadline(milliseconds: Self.patience))
    foreign.waiters += waiters
    foreign.fetchClass = max(foreign.fetchClass, fetchClass)
    blob.traffic.foreign[chunk] = foreign
    watched[ObjectIdentifier(blob)] = blob
    lookSoon()
  }

  /// One more waits for a chunk that is watched.
  func join(foreign chunk: Int, _ waiter: Waiter) {
    waiter.blob.traffic.foreign[chunk]?.waiters.append(waiter)
    if let old = waiter.blob.traffic.foreign[chunk]?.fetchClass {
      waiter.blob.traffic.foreign[chunk]?.fetchClass = max(old, waiter.fetchClass)
    }
  }

  private func lookSoon() {
    if isWatching { return }
    isWatching = true
    loop.after(milliseconds: 1) { [weak self] in
      guard let self else { return }
      isWatching = false
      for blob in watched.values { look(at: blob) }
      watched = watched.filter { !$0.value.traffic.foreign.isEmpty }
      if !watched.isEmpty, !isStopped { lookSoon() }
    }
  }

  private func look(at blob: RemoteBlob) {
    for (chunk, foreign) in blob.traffic.foreign {
      let waiters = foreign.waiters.filter { !$0.isDone }
      if waiters.isEmpty {
        blob.traffic.foreign[chunk] = nil
      } else if isHere(blob, chunk) {
        blob.traffic.foreign[chunk] = nil
        arrived(waiters)
      } else if blob.cached?.claim(chunk..<chunk + 1) ?? true {
        // The other one gave up or died. The claim is ours, and the flight claims it again.
        blob.traffic.foreign[chunk] = nil
        fly(blob, chunk, waiters, foreign.fetchClass, isPrivate: false)
      } else if foreign.patience.hasPassed {
        blob.traffic.foreign[chunk] = nil
        fly(blob, chunk, waiters, foreign.fetchClass, isPrivate: true)
      }
    }
  }

  private func fly(_ blob: RemoteBlob, _ chunk: Int, _ waiters: [Waiter], _ fetchClass: FetchClass, isPrivate: Bool) {
    let flight = Flight(blob, chunk..<chunk + 1, fetchClass, isPrivate: isPrivate)
    flight.waiters[chunk] = waiters
    enqueue(flight)
  }
}
