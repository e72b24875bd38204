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

  /// Watches chunks that another process has claimed.
  func watch(_ blob: RemoteBlob, _ waits: [Wait], _ fetchClass: FetchClass) {
    let chunks = Self.hull(waits)
    let isImpatient = !(blob.traffic.impatientUntil?.hasPassed ?? true)
    blob.traffic.foreign.append(
      Foreign(
        chunks: chunks, waits: waits, fetchClass: fetchClass,
        patience: Deadline(milliseconds: isImpatient ? Self.shortPatience : Self.patience),
        present: present(blob, upTo: chunks)))
    watched[ObjectIdentifier(blob)] = blob
    lookSoon()
  }

  /// From the first to the last chunk that somebody waits for.
  private static func hull(_ waits: [Wait]) -> Range<Int> {
    waits.map(\.chunks.lowerBound).min()!..<waits.map(\.chunks.upperBound).max()!
  }

  /// One more waits for chunks that are watched.
  func join(_ foreign: Int, of blob: RemoteBlob, _ wait: Wait) {
    blob.traffic.foreign[foreign].waits.append(wait)
    let fetchClass = max(blob.traffic.foreign[foreign].fetchClass, wait.waiter.fetchClass)
    blob.traffic.foreign[foreign].fetchClass = fetchClass
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
    var come: [Wait] = []
    var free: [Foreign] = []
    var stuck: [Foreign] = []
    var left: [Foreign] = []
    for var foreign in blob.traffic.foreign {
      foreign.waits.removeAll { $0.waiter.isDone }
      let isHere = foreign.waits.map { self.isHere(blob, $0.chunks) }
      come += zip(foreign.waits, isHere).filter(\.1).map(\.0)
      foreign.waits = zip(foreign.waits, isHere).filter { !$0.1 }.map(\.0)
      if foreign.waits.isEmpty { continue }
      foreign.chunks = Self.hull(foreign.waits)
      if claims, let part = freePart(blob, &foreign) { free.append(part) }
      if foreign.waits.isEmpty { continue }
      if foreign.patience.hasPassed, !renewPatience(blob, &foreign) {
        stuck.append(foreign)
        blob.traffic.impatientUntil = Deadline(milliseconds: Self.grudge)
      } else {
        left.append(foreign)
      }
    }
    blob.traffic.foreign = left
    for foreign in free { fly(blob, foreign, isPrivate: false) }
    for foreign in stuck { fly(blob, foreign, isPrivate: true) }
    arrived(come)
  }

  /// Takes from `foreign` what nobody has claimed any more, as the other one gave up or died; nil for nothing.
  private func freePart(_ blob: RemoteBlob, _ foreign: inout Foreign) -> Foreign? {
    let claim = blob.cached?.foreignClaim(in: foreign.chunks)
    let end = claim?.lowerBound ?? foreign.chunks.upperBound
    var part = foreign
    part.chunks = foreign.chunks.lowerBound..<end
    part.waits = foreign.waits.compactMap { $0.clamped(to: part.chunks) }
    if part.waits.isEmpty { return nil }
    foreign.chunks = end..<foreign.chunks.upperBound
    for wait in foreign.waits where wait.chunks.lowerBound < end && wait.chunks.upperBound > end {
      wait.waiter.missing += 1
    }
    foreign.waits = foreign.waits.compactMap { $0.clamped(to: foreign.chunks) }
    return part
  }

  /// Waits on if chunks have come, as they arrive in order.
  private func renewPatience(_ blob: RemoteBlob, _ foreign: inout Foreign) -> Bool {
    let present = present(blob, upTo: foreign.chunks)
    if present <= foreign.present { return false }
    foreign.present = present
    foreign.patience = Deadline(milliseconds: Self.patience)
    return true
  }

  /// How many of some chunks, and of those before them that one request may bring with them, are in the cache.
  private func present(_ blob: RemoteBlob, upTo chunks: Range<Int>) -> Int {
    guard let cached = blob.cached else { return 0 }
    return (max(0, chunks.lowerBound - Flight.chunksMax)..<chunks.upperBound).reduce(0) {
      $0 + (cached.view.word($1).isPresent ? 1 : 0)
    }
  }

  /// Starts a flight for chunks that were watched.
  private func fly(_ blob: RemoteBlob, _ foreign: Foreign, isPrivate: Bool) {
    let flight = Flight(blob, foreign.chunks, foreign.fetchClass, isPrivate: isPrivate)
    flight.waits = foreign.waits
    enqueue(flight)
  }
}
