import Glibc
import Posix
import Registry
import Synchronization

/// From a range that somebody wants to flights.
extension BlobStore {
  /// Bytes that one wait is for at most: a quarter of what memory holds, so that all of it can be there at once. What
  /// is longer is waited for in parts, one after the other.
  static let waitBytesMax = memoryBytesMax / 4

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
      let chunks = blob.chunks(of: part)
      blob.memory.drop(chunks)
      for chunk in chunks { _ = dropDamaged(blob, chunk, evenIfWhole: true) }
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
    var missing: [Range<Int>] = []
    var joined: (flight: Flight, chunk: Int)?
    var hasJoined = false
    var rest = blob.chunks(of: waiter.range)
    let isGraded = waiter.fetchClass == .demand && !waiter.hasWaited
    while true {
      rest = rest.dropFirst(hereCount(blob, rest))
      guard let chunk = rest.first else { break }
      let (flight, flightEnd) = blob.traffic.flight(at: chunk)
      let (foreign, foreignEnd) = blob.traffic.foreign(at: chunk)
      if let flight {
        let wait = Wait(waiter: waiter, chunks: chunk..<min(flightEnd, rest.upperBound))
        if isGraded { blob.traffic.grading?.wait(wait.chunks) }
        flight.waits.append(wait)
        raise(flight, waiter.fetchClass)
        joined = (flight, chunk)
        rest = wait.chunks.upperBound..<rest.upperBound
      } else if let foreign {
        let wait = Wait(waiter: waiter, chunks: chunk..<min(foreignEnd, rest.upperBound))
        if isGraded { blob.traffic.grading?.wait(wait.chunks) }
        join(foreign, of: blob, wait)
        rest = wait.chunks.upperBound..<rest.upperBound
      } else {
        let run = missingRun(blob, chunk..<min(rest.upperBound, flightEnd, foreignEnd, chunk + Flight.chunksMax))
        if isGraded { blob.traffic.grading?.wait(run) }
        missing.append(run)
        rest = run.upperBound..<rest.upperBound
        waiter.missing += 1
        continue
      }
      hasJoined = true
      waiter.missing += 1
    }
    if waiter.missing == 0 { return settle(waiter) }
    if let wrong = blob.traffic.wrong, !missing.isEmpty {
      if !wrong.until.hasPassed {
        return waiter.finish(
          .wrongBlob(blob: blob.name, expected: blob.location.digest, found: "sha256:\(wrong.sha256)"))
      }
      blob.traffic.wrong = nil
    }
    if !waiter.hasWaited { counters.waitsAtomic.add(1, ordering: .relaxed) }
    if hasJoined, !waiter.hasWaited { counters.joinsAtomic.add(1, ordering: .relaxed) }
    waiter.hasWaited = true
    for (number, run) in missing.enumerated() {
      let isExtended = waiter.fetchClass == .demand && number == missing.count - 1
      let flight = Flight(blob, isExtended ? extended(run, blob) : run, waiter.fetchClass)
      flight.waits = [Wait(waiter: waiter, chunks: run)]
      enqueue(flight)
    }
    if waiter.fetchClass == .demand, let joined { flyAhead(of: joined.flight, at: joined.chunk) }
  }

  /// The first of the chunks, which is not here, and those that follow it until one is.
  private func missingRun(_ blob: RemoteBlob, _ chunks: Range<Int>) -> Range<Int> {
    var end = chunks.lowerBound + 1
    while end < chunks.upperBound {
      if blob.hasChunk(end), hereCount(blob, end..<chunks.upperBound) > 0 { break }
      end += 1
    }
    return chunks.lowerBound..<end
  }

  /// Missing chunks and those behind them that are fetched with them.
  private func extended(_ missing: Range<Int>, _ blob: RemoteBlob) -> Range<Int> {
    // Nothing is fetched twice for the sake of a long request.
    let far = max(missing.upperBound, min(blob.chunkCount, missing.lowerBound + Flight.chunksMax))
    let (flight, flightEnd) = blob.traffic.flight(at: missing.upperBound)
    let (foreign, foreignEnd) = blob.traffic.foreign(at: missing.upperBound)
    let end = flight != nil || foreign != nil ? missing.upperBound : min(far, flightEnd, foreignEnd)
    let limit = (missing.upperBound..<end).first { blob.hasChunk($0) } ?? end
    return blob.traffic.readahead.extend(missing, limit: limit)
  }

  /// A reader in order has come to the second half of the flight that brings what it reads: what follows is asked for
  /// before it is missed, so that nobody waits a round trip between two flights.
  private func flyAhead(of flight: Flight, at chunk: Int) {
    let blob = flight.blob
    let next = flight.chunks.upperBound
    guard chunk >= flight.chunks.lowerBound + flight.chunks.count / 2, next < blob.chunkCount,
      !blob.hasChunk(next), !blob.traffic.hasUnderWay(next), blob.traffic.readahead.isInOrder(upTo: next)
    else { return }
    // A flight that nobody waits for is none, so somebody waits for its first chunk.
    let first = next..<next + 1
    let waiter = Waiter(blob, blob.bytes(of: first), .prefetch, Deadline(milliseconds: 60_000)) { _ in }
    waiter.missing = 1
    waiters.append(waiter)
    let ahead = Flight(blob, extended(first, blob), .prefetch)
    ahead.waits = [Wait(waiter: waiter, chunks: first)]
    enqueue(ahead)
  }

  // MARK: What is here

  /// Whether all of the chunks can be read.
  func isHere(_ blob: RemoteBlob, _ chunks: Range<Int>) -> Bool { hereCount(blob, chunks) == chunks.count }

  /// How many of the chunks, from the first on, can be read; those of the cache that this process has not read before are
  /// checked now.
  func hereCount(_ blob: RemoteBlob, _ chunks: Range<Int>) -> Int {
    var chunk = chunks.lowerBound
    while chunk < chunks.upperBound {
      if blob.view.isChecked(chunk) || blob.memory.view.word(chunk).isPresent {
        chunk += 1
        continue
      }
      guard let cached = blob.cached, cached.view.word(chunk).isPresent else { break }
      let limit = min(chunks.upperBound, chunk + ChunkMap.spanChunks)
      let run = chunk..<((chunk..<limit).first { blob.view.isChecked($0) || !cached.view.word($0).isPresent } ?? limit)
      check(blob, cached, run)
      for chunk in run where !blob.view.isChecked(chunk) { _ = dropDamaged(blob, chunk) }
      if !blob.view.isChecked(chunk) { break }
    }
    return chunk - chunks.lowerBound
  }

  /// Checks chunks of the cache, a span at most, and notes those that are whole.
  private func check(_ blob: RemoteBlob, _ cached: ChunkFile, _ chunks: Range<Int>) {
    cached.check(chunks, into: checkBuffer) { chunk, word in
      if let word { blob.noteChecked(chunk, word) }
    }
  }

  /// Drops a chunk of the cache that is not what was stored; with `evenIfWhole` also one that is. Whether the chunk is
  /// whole after all and stays.
  func dropDamaged(_ blob: RemoteBlob, _ chunk: Int, evenIfWhole: Bool = false) -> Bool {
    // A flight may have the claim, and replaces what is there.
    guard let cached = blob.cached, blob.traffic.flight(at: chunk).0 == nil, cached.claim(chunk..<chunk + 1) else {
      return false
    }
    defer { cached.release(chunk..<chunk + 1) }
    guard cached.view.word(chunk).isPresent else { return false }
    if !evenIfWhole {
      // Between our look and our claim somebody may have mended it.
      check(blob, cached, chunk..<chunk + 1)
      if blob.view.isChecked(chunk) { return true }
    }
    cached.drop(chunk..<chunk + 1)
    counters.repairsAtomic.add(1, ordering: .relaxed)
    report(.repaired(blob: blob.name, offset: blob.bytes(of: chunk..<chunk + 1).lowerBound))
    return false
  }

  // MARK: Ends

  /// What was waited for has come: whoever waits for nothing else is done.
  func arrived(_ waits: [Wait]) {
    for waiter in waits.lazy.map(\.waiter) where !waiter.isDone {
      waiter.missing -= 1
      if waiter.missing == 0 { settle(waiter) }
    }
  }

  /// All chunks were here; are they still, and in one place? A reader has one file for a read.
  private func settle(_ waiter: Waiter) {
    let blob = waiter.blob
    if blob.view.canLease(waiter.range.lowerBound, UInt64(waiter.range.count)) { return waiter.finish(nil) }
    let chunks = blob.chunks(of: waiter.range)
    if isHere(blob, chunks), let error = gatherInMemory(blob, chunks) { return waiter.finish(error) }
    // What was dropped in between has to come again. From the loop anew, so that a store whose limit is far too small
    // does not recurse.
    loop.perform { [self] in if !waiter.isDone, !isStopped { begin(waiter) } }
  }

  /// Copies what the cache has of some chunks to memory, which has the others.
  private func gatherInMemory(_ blob: RemoteBlob, _ chunks: Range<Int>) -> BlobError? {
    guard let cached = blob.cached else { return nil }
    var rest = chunks
    while let chunk = rest.first {
      let limit = min(rest.upperBound, chunk + ChunkMap.spanChunks)
      let run = chunk..<((chunk..<limit).first { blob.memory.view.word($0).isPresent } ?? limit)
      rest = max(run.upperBound, chunk + 1)..<rest.upperBound
      if run.isEmpty { continue }
      guard cached.hasAll(run, into: checkBuffer) else { return nil }
      let bytes = UnsafeRawBufferPointer(rebasing: checkBuffer[..<blob.bytes(of: run).count])
      if let error = keepInMemory(blob, run, bytes) { return error }
    }
    return nil
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
        let late = BlobError.timedOut(
          blob: waiter.blob.name, offset: waiter.range.lowerBound, wanted: waiter.range.count)
        waiter.finish(waiter.trouble.map { .registry($0) } ?? late)
      }
      waiters.removeAll { $0.isDone }
      for flight in flights.values { restartIfStuck(flight) }
      if flights.isEmpty { buffers.release() }
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
