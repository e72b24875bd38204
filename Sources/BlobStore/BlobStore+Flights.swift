import Posix
import Registry
import Synchronization

/// Flights: from their turn to the last chunk.
extension BlobStore {
  /// Puts a flight in line and starts what may start.
  func enqueue(_ flight: Flight) {
    flights[ObjectIdentifier(flight)] = flight
    flight.blob.traffic.add(flight)
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
      countFlying(flight, as: old, -1)
      countFlying(flight, as: fetchClass, 1)
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

  /// Counts a flight in, with 1, or out, with -1, and what it still has to bring.
  func countFlying(_ flight: Flight, as fetchClass: FetchClass, _ sign: Int) {
    flying[fetchClass, default: 0] += sign
    flyingBytes[fetchClass, default: 0] += sign * flight.restBytes
  }

  /// Takes the next flight out of its line; nil when none may start.
  private func nextToFly() -> Flight? {
    for fetchClass in FetchClass.allCases.reversed() {
      guard let next = waiting[fetchClass]?.first else { continue }
      if mayFly(next) { return waiting[fetchClass]!.removeFirst() }
    }
    return nil
  }

  private func mayFly(_ flight: Flight) -> Bool {
    let fetchClass = flight.fetchClass
    guard flying[fetchClass, default: 0] < fetchClass.flightsMax else { return false }
    if fetchClass != .demand, let nextTry, !nextTry.hasPassed || flying[fetchClass, default: 0] > 0 { return false }
    switch fetchClass {
    case .demand: return true
    case .prefetch:
      let all = flying.values.reduce(0, +)
      return all < PrefetchPace.flightsMax
        && pace.allows(
          flight.restBytes, beside: flyingBytes[.prefetch, default: 0],
          others: flyingBytes[.demand, default: 0] + flyingBytes[.background, default: 0])
    // The background waits for silence.
    case .background: return !flying.contains { $0.key > .background && $0.value > 0 }
    }
  }

  /// Claims a flight's chunks and fetches them; those that another process has claimed are watched instead.
  private func take(_ flight: Flight) {
    if flight.fetchClass == .prefetch, let bytes = pace.sliceMax() { shorten(flight, to: bytes) }
    // Whoever wanted it may have lost patience while it was in line.
    if !flight.isWanted { return end(flight, failing: nil) }
    guard let cached = flight.blob.cached, !flight.isPrivate else { return fetch(flight) }
    flight.holdsClaims = cached.claim(flight.rest)
    // Somebody may have brought chunks between our look and our claim.
    if flight.holdsClaims, !flight.rest.contains(where: { flight.blob.hasChunk($0) }) { return fetch(flight) }
    dissolve(flight, cached)
  }

  /// Leaves what of a flight is more than so many bytes in line, before all others of its class, if somebody waits for it.
  private func shorten(_ flight: Flight, to bytes: Int) {
    let end = flight.next + bytes >> Int(ChunkMap.chunkShift)
    guard end < flight.chunks.upperBound else { return }
    let rest = Flight(flight.blob, end..<flight.chunks.upperBound, flight.fetchClass, isPrivate: flight.isPrivate)
    rest.take(flight.waits)
    if !rest.isWanted { return }
    let before = flight.waits
    flight.shorten(to: end)
    for wait in before where wait.chunks.contains(end - 1) && wait.chunks.contains(end) { wait.waiter.missing += 1 }
    flights[ObjectIdentifier(rest)] = rest
    rest.blob.traffic.add(rest)
    waiting[rest.fetchClass, default: []].insert(rest, at: 0)
  }

  /// Splits a flight into what is here, what another process has claimed, and flights for the rest.
  private func dissolve(_ flight: Flight, _ cached: ChunkFile) {
    let blob = flight.blob
    retire(flight)
    let waits = flight.waits.filter { !$0.waiter.isDone }
    var rest = flight.rest
    while true {
      rest = rest.dropFirst(hereCount(blob, rest))
      guard let chunk = rest.first else { break }
      let end = (chunk..<rest.upperBound).dropFirst().first { blob.hasChunk($0) } ?? rest.upperBound
      let claim = cached.foreignClaim(in: chunk..<end)
      let run = chunk..<(claim.map { $0.lowerBound > chunk ? $0.lowerBound : $0.upperBound } ?? end)
      rest = run.upperBound..<rest.upperBound
      let own = waits.compactMap { $0.clamped(to: run) }
      // What nobody waits for is the other one's business.
      if own.isEmpty { continue }
      for wait in own { wait.waiter.missing += 1 }
      if claim?.lowerBound == chunk {
        watch(blob, own, flight.fetchClass)
      } else {
        // Claimed when it is the part's turn: until then others may.
        let part = Flight(blob, run, flight.fetchClass)
        part.waits = own
        enqueue(part)
      }
    }
    // Each was counted once for the whole flight.
    arrived(waits)
  }

  /// Asks the origin for what is left of a flight.
  private func fetch(_ flight: Flight) {
    let blob = flight.blob
    let bytes = blob.bytes(of: flight.rest)
    let start = flight.next
    let buffer = buffers.take(bytes.count)
    flight.buffer = buffer
    counters.fetchesAtomic.add(1, ordering: .relaxed)
    if flight.fetchClass == .prefetch { counters.prefetchesAtomic.add(1, ordering: .relaxed) }
    switch flight.fetchClass {
    // One that nothing is prefetched beside is in nobody's way.
    case .demand where flying[.prefetch, default: 0] > 0 || !(waiting[.prefetch]?.isEmpty ?? true): pace.noteDemand()
    case .prefetch where flying[.prefetch, default: 0] == 0: pace.noteStart()
    case .prefetch, .demand, .background: break
    }
    countFlying(flight, as: flight.fetchClass, 1)
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
    guard case .flying = flight.state else { return }
    let blob = flight.blob
    let base = blob.bytes(of: start..<start + 1).lowerBound
    let end = base + UInt64(count)
    let whole = end >= blob.size ? blob.chunkCount : Int(end >> ChunkMap.chunkShift)
    let come = flight.next..<max(flight.next, min(whole, flight.chunks.upperBound))
    // Stored one by one they would cost more; but nobody shall wait for what is here.
    let isMuch = come.count >= ChunkMap.spanChunks || come.upperBound == flight.chunks.upperBound
    guard !come.isEmpty, isMuch || flight.waits.contains(where: { $0.chunks.upperBound <= come.upperBound })
    else { return }
    let bytes = blob.bytes(of: come)
    let part = buffer[Int(bytes.lowerBound - base)..<Int(bytes.upperBound - base)]
    arrive(flight, come, UnsafeRawBufferPointer(rebasing: part))
  }

  /// Stores chunks that have come, in the cache or else in memory.
  private func arrive(_ flight: Flight, _ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer) {
    let blob = flight.blob
    counters.fetchedBytesAtomic.add(UInt64(bytes.count), ordering: .relaxed)
    pace.note(bytes.count)
    let isStored = flight.holdsClaims && storeInCache(blob, chunks, bytes)
    if !isStored, let error = keepInMemory(blob, chunks, bytes) {
      for wait in flight.waits where wait.chunks.overlaps(chunks) { wait.waiter.finish(error) }
    }
    land(flight, upTo: chunks.upperBound)
    if isStored { noteStored(blob, bytes.count) }
  }

  /// Keeps chunks that came with something else, unless they are here or on their way.
  func keep(_ blob: RemoteBlob, _ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer) {
    var rest = chunks
    while let chunk = rest.first {
      let isWanted = { !blob.hasChunk($0) && !blob.traffic.hasUnderWay($0) }
      let run = chunk..<(rest.first { !isWanted($0) } ?? rest.upperBound)
      rest = max(run.upperBound, chunk + 1)..<rest.upperBound
      if run.isEmpty { continue }
      let range = blob.bytes(of: run)
      let start = Int(range.lowerBound - blob.bytes(of: chunks).lowerBound)
      keepMissing(blob, run, UnsafeRawBufferPointer(rebasing: bytes[start..<start + range.count]))
    }
  }

  private func keepMissing(_ blob: RemoteBlob, _ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer) {
    counters.fetchedBytesAtomic.add(UInt64(bytes.count), ordering: .relaxed)
    guard let cached = blob.cached else {
      _ = keepInMemory(blob, chunks, bytes)
      return
    }
    guard cached.claim(chunks) else { return }
    // Stored over what somebody brought just now is no harm: they are the same bytes.
    let isStored = storeInCache(blob, chunks, bytes)
    cached.release(chunks)
    if isStored { noteStored(blob, bytes.count) } else { _ = keepInMemory(blob, chunks, bytes) }
  }

  /// False when the cache does not take the chunks. Only with their claims.
  private func storeInCache(_ blob: RemoteBlob, _ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let cached = blob.cached else { return false }
    let now = clock.seconds.pointee.load(ordering: .relaxed)
    do throws(Errno) {
      for chunk in stride(from: chunks.lowerBound, to: chunks.upperBound, by: ChunkMap.spanChunks) {
        cached.view.use(chunk, now)
      }
      cached.view.use(chunks.upperBound - 1, now)
      try cached.store(chunks, bytes)
      for chunk in chunks { blob.noteChecked(chunk, cached.view.word(chunk)) }
      return true
    } catch {
      noteRefused(blob, error)
      return false
    }
  }

  /// The chunks of a flight below `end` are here, or given up: they are nobody's claim any more.
  private func land(_ flight: Flight, upTo end: Int) {
    let landed = flight.next..<end
    if case .flying = flight.state { flyingBytes[flight.fetchClass, default: 0] -= flight.blob.bytes(of: landed).count }
    flight.next = end
    if flight.holdsClaims { flight.blob.cached?.release(landed) }
    let come = flight.waits.filter { $0.chunks.upperBound <= end }
    if come.isEmpty { return }
    flight.waits.removeAll { $0.chunks.upperBound <= end }
    arrived(come)
  }
}
