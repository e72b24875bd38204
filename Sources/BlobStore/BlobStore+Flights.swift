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
      startWaiting()
    case .flying:
      flying[old, default: 0] -= 1
      flying[fetchClass, default: 0] += 1
    case .pausing, .ended: break
    }
  }

  /// Starts flights, the most urgent first, as many as their classes may have. The background waits for silence.
  private func startWaiting() {
    for fetchClass in FetchClass.allCases.reversed() {
      while flying[fetchClass, default: 0] < fetchClass.flightsMax, !(waiting[fetchClass] ?? []).isEmpty {
        if fetchClass == .background, flying.contains(where: { $0.key > .background && $0.value > 0 }) { return }
        take(waiting[fetchClass]!.removeFirst())
      }
    }
  }

  /// Claims a flight's chunks and fetches them; those that another process has claimed are watched instead.
  private func take(_ flight: Flight) {
    guard let cached = flight.blob.cached, !flight.isPrivate else { return fetch(flight) }
    if cached.claim(flight.chunks) {
      // Somebody may have brought them between our look and our claim.
      for chunk in flight.chunks {
        guard isHere(flight.blob, chunk) else { return fetch(flight) }
        land(flight, chunk)
      }
      return end(flight, failing: nil)
    }
    dissolve(flight, cached)
  }

  /// Splits a flight into what can be claimed and what cannot.
  private func dissolve(_ flight: Flight, _ cached: ChunkFile) {
    let blob = flight.blob
    end(flight, failing: nil, keepingWaiters: true)
    var run: Range<Int>?
    func launchRun() {
      guard let chunks = run else { return }
      // What is claimed stays so: a claim of one's own can be made again.
      let part = Flight(blob, chunks, flight.fetchClass)
      for chunk in chunks { part.waiters[chunk] = flight.waiters[chunk] }
      enqueue(part)
      run = nil
    }
    for chunk in flight.chunks {
      if cached.claim(chunk..<chunk + 1) {
        run = (run?.lowerBound ?? chunk)..<chunk + 1
      } else {
        launchRun()
        // What nobody waits for is the other one's business.
        if let waiters = flight.waiters[chunk] { watch(blob, chunk, waiters, flight.fetchClass) }
      }
    }
    launchRun()
  }

  /// Asks the origin for what is left of a flight.
  private func fetch(_ flight: Flight) {
    let blob = flight.blob
    let bytes = blob.bytes(of: flight.rest)
    let start = flight.rest.lowerBound
    let buffer = flight.makeBuffer()
    counters.fetchesAtomic.add(1, ordering: .relaxed)
    flying[flight.fetchClass, default: 0] += 1
    let handle = origin.fetch(
      blob.location, .bytes(bytes), into: buffer, deadline: deadline(of: flight),
      progress: { [weak self, weak flight] count in
        guard let self, let flight else { return }
        self.progress(flight, from: start, buffer, count)
      },
      completion: { [weak self, weak flight] result in
        guard let self, let flight else { return }
        self.completed(flight, result)
      })
    flight.state = .flying(handle)
  }

  /// The latest deadline of those who wait; for what nobody waits for, a minute.
  private func deadline(of flight: Flight) -> Deadline? {
    let waiters = flight.liveWaiters
    if waiters.contains(where: { $0.deadline == nil }) { return nil }
    return waiters.compactMap(\.deadline).max { $0.nanoseconds < $1.nanoseconds } ?? Deadline(milliseconds: 60_000)
  }

  /// The first `count` bytes of `buffer`, which begins with chunk `start`, have come.
  private func progress(_ flight: Flight, from start: Int, _ buffer: UnsafeMutableRawBufferPointer, _ count: Int) {
    let base = flight.blob.bytes(of: start..<start + 1).lowerBound
    while flight.next < flight.chunks.upperBound {
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
    let isStored = !flight.isPrivate && storeInCache(blob, chunk, bytes)
    if !isStored, let error = keepInMemory(blob, chunk, bytes) {
      for waiter in flight.waiters[chunk] ?? [] { waiter.finish(error) }
    }
    land(flight, chunk)
  }

  /// Keeps a chunk that came with something else, unless it is here or on its way.
  func keep(_ blob: RemoteBlob, _ chunk: Int, _ bytes: UnsafeRawBufferPointer) {
    if isHere(blob, chunk) || blob.traffic.flights[chunk] != nil { return }
    counters.fetchedBytesAtomic.add(UInt64(bytes.count), ordering: .relaxed)
    guard let cached = blob.cached else {
      _ = keepInMemory(blob, chunk, bytes)
      return
    }
    guard cached.claim(chunk..<chunk + 1) else { return }
    defer { cached.release(chunk..<chunk + 1) }
    if !storeInCache(blob, chunk, bytes) { _ = keepInMemory(blob, chunk, bytes) }
  }

  /// False when the cache does not take the chunk. Only with its claim.
  private func storeInCache(_ blob: RemoteBlob, _ chunk: Int, _ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let cached = blob.cached else { return false }
    do throws(Errno) {
      try cached.store(chunk, bytes)
      cached.view.uses[chunk].store(clock.pointee.load(ordering: .relaxed), ordering: .relaxed)
      blob.noteChecked(chunk, cached.view.word(chunk))
      noteStored(blob, bytes.count)
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
    if !flight.isPrivate { flight.blob.cached?.release(chunk..<chunk + 1) }
    arrived(flight.waiters.removeValue(forKey: chunk) ?? [])
  }

  private func completed(_ flight: Flight, _ result: Result<FetchResult, RegistryError>) {
    guard case .flying = flight.state else { return }
    switch result {
    case .success where flight.rest.isEmpty: end(flight, failing: nil)
    case .success: end(flight, failing: .cut(blob: flight.blob.name, chunk: flight.next))
    case .failure(let error): failed(flight, error)
    }
    startWaiting()
  }

  /// A fetch ended with an error: the flight goes on for those whose time is not over.
  private func failed(_ flight: Flight, _ error: RegistryError) {
    let patient = flight.liveWaiters.filter { $0.deadline == nil }
    for waiter in flight.liveWaiters where waiter.deadline != nil {
      if case .deadline = error, !(waiter.deadline!.hasPassed) { continue }
      waiter.finish(.registry(error))
    }
    if flight.liveWaiters.isEmpty { return end(flight, failing: nil) }
    flight.freeBuffer()
    flying[flight.fetchClass, default: 1] -= 1
    flight.state = .pausing
    // Credentials may be mended, and registries come back; nobody is to be flooded while they are not.
    loop.after(milliseconds: patient.isEmpty ? 0 : 1000) { [weak self, weak flight] in
      guard let self, let flight, case .pausing = flight.state else { return }
      flight.state = .waiting
      self.fetch(flight)
    }
  }

  /// Ends a flight, whatever became of it.
  func end(_ flight: Flight, failing error: BlobError?, keepingWaiters: Bool = false) {
    if case .ended = flight.state { return }
    let state = flight.state
    flight.state = .ended
    flights[ObjectIdentifier(flight)] = nil
    switch state {
    case .waiting: waiting[flight.fetchClass]?.removeAll { $0 === flight }
    case .flying(let handle):
      flying[flight.fetchClass, default: 1] -= 1
      origin.cancel(handle)
    case .pausing, .ended: break
    }
    for chunk in flight.rest {
      if flight.blob.traffic.flights[chunk] === flight { flight.blob.traffic.flights[chunk] = nil }
    }
    if !flight.isPrivate, !flight.rest.isEmpty, !keepingWaiters { flight.blob.cached?.release(flight.rest) }
    guard !keepingWaiters else { return }
    for waiter in flight.liveWaiters { waiter.finish(error ?? .cut(blob: flight.blob.name, chunk: flight.next)) }
  }
}
