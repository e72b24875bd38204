import Glibc
import Posix
import Registry
import Synchronization

/// From a range that somebody wants to flights.
extension BlobStore {
  /// Bytes that one wait is for at most: a quarter of what memory holds, so that all of it can be there at once. What
  /// is longer is waited for in parts, one after the other.
  static let waitBytesMax = UInt64(memoryChunksMax / 4) << ChunkMap.chunkShift

  /// Calls `completion`, on the loop's thread, when all of `range`, in bytes of the blob, is in one of the blob's two
  /// places (of more than 16 MiB: was), or with an error: at the `deadline` (nil: never), or as soon as the registry
  /// says something that waiting does not change and there is a deadline. From any thread.
  public func want(
    _ blob: RemoteBlob, _ range: Range<UInt64>, _ fetchClass: FetchClass, deadline: Deadline?,
    completion: @escaping @Sendable (BlobError?) -> Void
  ) {
    loop.perform { [self] in
      guard range.upperBound <= blob.size, !range.isEmpty else {
        return fail(completion, .outOfBounds(blob, range))
      }
      waitForParts(of: range, blob, fetchClass, deadline, completion)
    }
  }

  /// The same for bytes that the caller read under `lease`, which is of this range, and found damaged: what the places
  /// have of them is dropped first, unless that has happened since. Many readers may find the same damage at once.
  /// Without a lease, because nothing could be read, whatever is here goes.
  public func repair(
    _ blob: RemoteBlob, _ range: Range<UInt64>, _ lease: BlobView.Lease?, deadline: Deadline?,
    completion: @escaping @Sendable (BlobError?) -> Void
  ) {
    loop.perform { [self] in
      let part = range.clamped(to: 0..<blob.size)
      if part.isEmpty || isStopped { return }
      if let lease, !blob.view.holds(lease, part.lowerBound, UInt64(part.count)) { return }
      for chunk in blob.chunks(of: part) {
        if blob.memory.view.word(chunk).isPresent { blob.memory.drop(chunk) }
        _ = dropDamaged(blob, chunk, evenIfWhole: true)
      }
    }
    want(blob, range, .demand, deadline: deadline, completion: completion)
  }

  private func waitForParts(
    of range: Range<UInt64>, _ blob: RemoteBlob, _ fetchClass: FetchClass, _ deadline: Deadline?,
    _ completion: @escaping @Sendable (BlobError?) -> Void
  ) {
    guard !isStopped else { return fail(completion, .stopped) }
    // Whole chunks but for the ends, so that no chunk is looked at twice.
    let limit = range.lowerBound / ChunkMap.chunkBytes * ChunkMap.chunkBytes + Self.waitBytesMax
    let part = range.lowerBound..<min(range.upperBound, limit)
    let waiter = Waiter(blob, part, fetchClass, deadline) { [self] error in
      if let error { return fail(completion, error) }
      if part.upperBound == range.upperBound { return completion(nil) }
      let rest = part.upperBound..<range.upperBound
      loop.perform { self.waitForParts(of: rest, blob, fetchClass, deadline, completion) }
    }
    waiters.append(waiter)
    sweepSoon()
    begin(waiter)
  }

  private func fail(_ completion: (BlobError?) -> Void, _ error: BlobError) {
    counters.failuresAtomic.add(1, ordering: .relaxed)
    completion(error)
  }

  /// Starts whatever a waiter's range still needs.
  func begin(_ waiter: Waiter) {
    let blob = waiter.blob
    var missing: [Int] = []
    var joined: (flight: Flight, chunk: Int)?
    var hasJoined = false
    for chunk in blob.chunks(of: waiter.range) where !isHere(blob, chunk) {
      waiter.missing += 1
      if let flight = blob.traffic.flights[chunk] {
        hasJoined = true
        joined = (flight, chunk)
        flight.waiters[chunk, default: []].append(waiter)
        raise(flight, waiter.fetchClass)
      } else if blob.traffic.foreign[chunk] != nil {
        hasJoined = true
        join(foreign: chunk, waiter)
      } else {
        missing.append(chunk)
      }
    }
    if waiter.missing == 0 { return settle(waiter) }
    if !waiter.hasWaited { counters.waitsAtomic.add(1, ordering: .relaxed) }
    if hasJoined, !waiter.hasWaited { counters.joinsAtomic.add(1, ordering: .relaxed) }
    waiter.hasWaited = true
    let runs = runs(missing, limit: Flight.chunksMax)
    for (number, run) in runs.enumerated() {
      let isExtended = waiter.fetchClass == .demand && number == runs.count - 1
      let flight = Flight(blob, isExtended ? extended(run, blob) : run, waiter.fetchClass)
      for chunk in run { flight.waiters[chunk] = [waiter] }
      enqueue(flight)
    }
    if waiter.fetchClass == .demand, let joined { flyAhead(of: joined.flight, at: joined.chunk) }
  }

  /// Missing chunks and those behind them that are fetched with them.
  private func extended(_ missing: Range<Int>, _ blob: RemoteBlob) -> Range<Int> {
    // Nothing is fetched twice for the sake of a long request.
    let far = min(blob.chunkCount, missing.lowerBound + Flight.chunksMax)
    let limit = (missing.upperBound..<max(missing.upperBound, far)).first { !isAbsent(blob, $0) }
    return blob.traffic.readahead.extend(missing, limit: limit ?? max(missing.upperBound, far))
  }

  /// A reader in order has come to the second half of the flight that brings what it reads: what follows is asked for
  /// before it is missed, so that nobody waits a round trip between two flights.
  private func flyAhead(of flight: Flight, at chunk: Int) {
    let blob = flight.blob
    let next = flight.chunks.upperBound
    guard chunk >= flight.chunks.lowerBound + flight.chunks.count / 2, next < blob.chunkCount, isAbsent(blob, next),
      blob.traffic.readahead.isInOrder(upTo: next)
    else { return }
    // A flight that nobody waits for is none, so somebody waits for its first chunk.
    let first = next..<next + 1
    let waiter = Waiter(blob, blob.bytes(of: first), .prefetch, Deadline(milliseconds: 60_000)) { _ in }
    waiter.missing = 1
    waiters.append(waiter)
    let ahead = Flight(blob, extended(first, blob), .prefetch)
    ahead.waiters[next] = [waiter]
    enqueue(ahead)
  }

  // MARK: What is here

  /// Whether a chunk can be read; one of the cache that this process has not read before is checked now.
  func isHere(_ blob: RemoteBlob, _ chunk: Int) -> Bool {
    if blob.view.isChecked(chunk) || blob.memory.view.word(chunk).isPresent { return true }
    guard let cached = blob.cached, cached.view.word(chunk).isPresent else { return false }
    return check(blob, cached, chunk) || dropDamaged(blob, chunk)
  }

  private func check(_ blob: RemoteBlob, _ cached: ChunkFile, _ chunk: Int) -> Bool {
    guard let word = cached.check(chunk, into: checkBuffer) else { return false }
    blob.noteChecked(chunk, word)
    return true
  }

  /// Whether nobody has a chunk or brings it, as far as one can tell without reading.
  private func isAbsent(_ blob: RemoteBlob, _ chunk: Int) -> Bool {
    blob.traffic.flights[chunk] == nil && blob.traffic.foreign[chunk] == nil && !blob.hasChunk(chunk)
  }

  /// Drops a chunk of the cache that is not what was stored; with `evenIfWhole` also one that is. Whether the chunk is
  /// whole after all and stays.
  func dropDamaged(_ blob: RemoteBlob, _ chunk: Int, evenIfWhole: Bool = false) -> Bool {
    // A flight may have the claim, and replaces what is there.
    guard let cached = blob.cached, blob.traffic.flights[chunk] == nil, cached.claim(chunk..<chunk + 1) else {
      return false
    }
    defer { cached.release(chunk..<chunk + 1) }
    guard cached.view.word(chunk).isPresent else { return false }
    // Between our look and our claim somebody may have mended it.
    if !evenIfWhole, check(blob, cached, chunk) { return true }
    cached.drop(chunk)
    counters.repairsAtomic.add(1, ordering: .relaxed)
    report(.repaired(blob: blob.name, offset: cached.range(of: chunk).lowerBound))
    return false
  }

  // MARK: Ends

  /// A chunk has come: whoever waits for nothing else is done.
  func arrived(_ waiters: [Waiter]) {
    for waiter in waiters where !waiter.isDone {
      waiter.missing -= 1
      if waiter.missing == 0 { settle(waiter) }
    }
  }

  /// All chunks were here; are they still, and in one place? A reader has one file for a read.
  private func settle(_ waiter: Waiter) {
    let blob = waiter.blob
    if blob.view.lease(waiter.range.lowerBound, UInt64(waiter.range.count)) != nil { return waiter.finish(nil) }
    let chunks = blob.chunks(of: waiter.range)
    if chunks.allSatisfy({ isHere(blob, $0) }) {
      for chunk in chunks where !blob.memory.view.word(chunk).isPresent {
        guard let cached = blob.cached, cached.check(chunk, into: checkBuffer) != nil else { break }
        let bytes = UnsafeRawBufferPointer(rebasing: checkBuffer[..<cached.range(of: chunk).count])
        if let error = keepInMemory(blob, chunk, bytes) { return waiter.finish(error) }
      }
    }
    // What was dropped in between has to come again. From the loop anew, so that a store whose limit is far too small
    // does not recurse.
    loop.perform { [self] in if !waiter.isDone, !isStopped { begin(waiter) } }
  }

  /// Ends waits whose deadline has passed, four times a second while there are any, and fetches that the origin should
  /// have ended.
  private func sweepSoon() {
    if isSweeping { return }
    isSweeping = true
    loop.after(milliseconds: 250) { [weak self] in
      guard let self else { return }
      isSweeping = false
      for waiter in waiters where waiter.deadline?.hasPassed ?? false {
        waiter.finish(.timedOut(blob: waiter.blob.name, offset: waiter.range.lowerBound, wanted: waiter.range.count))
      }
      waiters.removeAll { $0.isDone }
      for flight in flights.values { restartIfStuck(flight) }
      if !waiters.isEmpty || !flights.isEmpty { sweepSoon() }
    }
  }
}

extension BlobError {
  fileprivate static func outOfBounds(_ blob: RemoteBlob, _ range: Range<UInt64>) -> BlobError {
    .outOfBounds(
      path: blob.name, offset: range.lowerBound, wanted: Int(clamping: range.upperBound - range.lowerBound),
      payloadEnd: blob.size)
  }
}
