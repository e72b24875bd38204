import Posix
import Registry
import Synchronization

/// Flights: from their turn to the last chunk.
extension BlobStore {
  /// Puts a flight in line and starts what may start.
  func enqueue(_ flight: Flight) {
    flights[ObjectIdentifier(flight)] = flight
    for chunk in flight.chunks { flight.blob.traffic.flights[chunk] = flight }
    waiting[flight.fetchClass, default: []].append(flight)
    startWaiting()
  }

  /// A flight is wanted more urgently than it was: one that waits goes to the more urgent line.
  func raise(_ flight: Flight, _ fetchClass: FetchClass) {
    guard fetchClass > flight.fetchClass else { return }
    let old = flight.fetchClass
    flight.fetchClass = fetchClass
    switch flight.state {
    case .waiting:
      waiting[old]?.removeAll { $0 === flight }
      waiting[fetchClass, default: []].append(flight)
    case .flying:
      flying[old, default: 0] -= 1
      flying[fetchClass, default: 0] += 1
    case .pausing, .ended: return
    }
    startWaiting()
  }

  /// Starts flights, the most urgent first, as many as their classes may have.
  func startWaiting() {
    // Whoever is at it already looks again before it ends.
    if isStarting { return }
    isStarting = true
    while let flight = nextToFly() { take(flight) }
    isStarting = false
  }

  /// Takes the next flight out of its line; nil when none may start. The background waits for silence.
  private func nextToFly() -> Flight? {
    for fetchClass in FetchClass.allCases.reversed() where !(waiting[fetchClass] ?? []).isEmpty {
      let isSilent = !flying.contains { $0.key > .background && $0.value > 0 }
      if flying[fetchClass, default: 0] < fetchClass.flightsMax, fetchClass > .background || isSilent {
        return waiting[fetchClass]!.removeFirst()
      }
    }
    return nil
  }

  /// Claims a flight's chunks and fetches them; those that another process has claimed are watched instead.
  private func take(_ flight: Flight) {
    // Whoever wanted it may have lost patience while it was in line.
    if flight.liveWaiters.isEmpty { return end(flight, failing: nil) }
    guard let cached = flight.blob.cached, !flight.isPrivate else { return fetch(flight) }
    flight.holdsClaims = cached.claim(flight.rest)
    // Somebody may have brought chunks between our look and our claim.
    if flight.holdsClaims, !flight.rest.contains(where: { isHere(flight.blob, $0) }) { return fetch(flight) }
    dissolve(flight, cached)
  }

  /// Splits a flight into what is here, what another process has claimed, and flights for the rest.
  private func dissolve(_ flight: Flight, _ cached: ChunkFile) {
    let blob = flight.blob
    retire(flight)
    var come: [Waiter] = []
    var missing: [Int] = []
    for chunk in flight.rest {
      let waiters = (flight.waiters[chunk] ?? []).filter { !$0.isDone }
      if isHere(blob, chunk) {
        come += waiters
      } else if cached.claim(chunk..<chunk + 1) {
        // Claimed again when it is the part's turn: until then others may.
        cached.release(chunk..<chunk + 1)
        missing.append(chunk)
      } else if !waiters.isEmpty {
        // What nobody waits for is the other one's business.
        watch(blob, chunk, waiters, flight.fetchClass)
      }
    }
    for run in runs(missing, limit: Flight.chunksMax) {
      let part = Flight(blob, run, flight.fetchClass)
      for chunk in run { part.waiters[chunk] = flight.waiters[chunk] }
      if !part.liveWaiters.isEmpty { enqueue(part) }
    }
    arrived(come)
  }

  /// Asks the origin for what is left of a flight.
  private func fetch(_ flight: Flight) {
    let blob = flight.blob
    let bytes = blob.bytes(of: flight.rest)
    let start = flight.next
    let buffer = flight.makeBuffer()
    counters.fetchesAtomic.add(1, ordering: .relaxed)
    flying[flight.fetchClass, default: 0] += 1
    flight.state = .flying(nil)
    let deadline = deadline(of: flight)
    flight.fetchDeadline = deadline
    let handle = origin.fetch(
      blob.location, .bytes(bytes), into: buffer, deadline: deadline,
      progress: { [weak self, weak flight] count in
        guard let self, let flight, flight.blob.traffic.isSizeKnown else { return }
        self.progress(flight, from: start, buffer, count)
      },
      completion: { [weak self, weak flight] result in
        guard let self, let flight else { return }
        self.completed(flight, from: start, buffer, result)
      })
    if case .flying(nil) = flight.state { flight.state = .flying(handle) }
  }

  /// The latest deadline of those who wait.
  private func deadline(of flight: Flight) -> Deadline? {
    let waiters = flight.liveWaiters
    if waiters.contains(where: { $0.deadline == nil }) { return nil }
    return waiters.compactMap(\.deadline).max { $0.nanoseconds < $1.nanoseconds }
  }

  /// The first `count` bytes of `buffer`, which begins with chunk `start`, have come.
  func progress(_ flight: Flight, from start: Int, _ buffer: UnsafeMutableRawBufferPointer, _ count: Int) {
    let base = flight.blob.bytes(of: start..<start + 1).lowerBound
    while case .flying = flight.state, flight.next < flight.chunks.upperBound {
      let bytes = flight.blob.bytes(of: flight.next..<flight.next + 1)
      guard bytes.upperBound - base <= UInt64(count) else { return }
      let part = UnsafeRawBufferPointer(rebasing: buffer[Int(bytes.lowerBound - base)..<Int(bytes.upperBound - base)])
      arrive(flight, flight.next, part)
    }
  }

  /// Stores a chunk that has come, in the cache or else in memory.
  private func arrive(_ flight: Flight, _ chunk: Int, _ bytes: UnsafeRawBufferPointer) {
    let blob = flight.blob
    counters.fetchedBytesAtomic.add(UInt64(bytes.count), ordering: .relaxed)
    let isStored = flight.holdsClaims && storeInCache(blob, chunk, bytes)
    if !isStored, let error = keepInMemory(blob, chunk, bytes) {
      for waiter in flight.waiters[chunk] ?? [] { waiter.finish(error) }
    }
    land(flight, chunk)
    if isStored { noteStored(blob, bytes.count) }
  }

  /// Keeps a chunk that came with something else, unless it is here or on its way.
  func keep(_ blob: RemoteBlob, _ chunk: Int, _ bytes: UnsafeRawBufferPointer) {
    if blob.traffic.flights[chunk] != nil || isHere(blob, chunk) { return }
    counters.fetchedBytesAtomic.add(UInt64(bytes.count), ordering: .relaxed)
    guard let cached = blob.cached else {
      _ = keepInMemory(blob, chunk, bytes)
      return
    }
    guard cached.claim(chunk..<chunk + 1) else { return }
    let isStored = isHere(blob, chunk) || storeInCache(blob, chunk, bytes)
    cached.release(chunk..<chunk + 1)
    if isStored { noteStored(blob, bytes.count) } else { _ = keepInMemory(blob, chunk, bytes) }
  }

  /// False when the cache does not take the chunk. Only with its claim.
  private func storeInCache(_ blob: RemoteBlob, _ chunk: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let cached = blob.cached else { return false }
    do throws(Errno) {
      cached.view.uses[chunk].store(clock.seconds.pointee.load(ordering: .relaxed), ordering: .relaxed)
      try cached.store(chunk, bytes)
      blob.noteChecked(chunk, cached.view.word(chunk))
      return true
    } catch {
      noteRefused(blob, error)
      return false
    }
  }

  /// A chunk of a flight is here, or given up: it is nobody's claim any more.
  private func land(_ flight: Flight, _ chunk: Int) {
    flight.next = chunk + 1
    if flight.blob.traffic.flights[chunk] === flight { flight.blob.traffic.flights[chunk] = nil }
    if flight.holdsClaims { flight.blob.cached?.release(chunk..<chunk + 1) }
    arrived(flight.waiters.removeValue(forKey: chunk) ?? [])
  }
}
