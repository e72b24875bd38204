import Glibc
import Posix
import Registry
import Synchronization

/// From a range that somebody wants to flights.
extension BlobStore {
  /// Calls `completion`, on the loop's thread, when all of `range`, in bytes of the blob, is in one of the blob's two
  /// places, or with an error: at the `deadline` (nil: never), or as soon as the registry says something that waiting
  /// does not change and there is a deadline. From any thread.
  public func want(
    _ blob: RemoteBlob, _ range: Range<UInt64>, _ fetchClass: FetchClass, deadline: Deadline?,
    completion: @escaping @Sendable (BlobError?) -> Void
  ) {
    loop.perform { [self] in
      counters.waitsAtomic.add(1, ordering: .relaxed)
      let waiter = Waiter(blob, range, fetchClass, deadline) { [counters] error in
        if error != nil { counters.failuresAtomic.add(1, ordering: .relaxed) }
        completion(error)
      }
      guard !isStopped else { return waiter.finish(.stopped) }
      guard !range.isEmpty, range.upperBound <= blob.size else {
        return waiter.finish(
          .outOfBounds(
            path: blob.name, offset: range.lowerBound, wanted: range.count, payloadEnd: blob.size))
      }
      waiters.append(waiter)
      sweepSoon()
      begin(waiter)
    }
  }

  /// The same for the bytes that the caller found damaged: what the places have of them is dropped first.
  public func repair(
    _ blob: RemoteBlob, _ range: Range<UInt64>, deadline: Deadline?, completion: @escaping @Sendable (BlobError?) -> Void
  ) {
    loop.perform { [self] in
      for chunk in blob.chunks(of: range.clamped(to: 0..<blob.size)) where blob.traffic.flights[chunk] == nil {
        dropDamaged(blob, chunk)
      }
    }
    want(blob, range, .demand, deadline: deadline, completion: completion)
  }

  /// Starts whatever a waiter's range still needs.
  func begin(_ waiter: Waiter) {
    let blob = waiter.blob
    var runs: [Range<Int>] = []
    var hasJoined = false
    for chunk in blob.chunks(of: waiter.range) where !isHere(blob, chunk) {
      waiter.missing += 1
      if let flight = blob.traffic.flights[chunk] {
        hasJoined = true
        flight.waiters[chunk, default: []].append(waiter)
        raise(flight, waiter.fetchClass)
      } else if blob.traffic.foreign[chunk] != nil {
        hasJoined = true
        join(foreign: chunk, waiter)
      } else if let last = runs.last, last.upperBound == chunk {
        runs[runs.count - 1] = last.lowerBound..<chunk + 1
      } else {
        runs.append(chunk..<chunk + 1)
      }
    }
    if hasJoined { counters.joinsAtomic.add(1, ordering: .relaxed) }
    if waiter.missing == 0 { return settle(waiter) }
    for run in runs { launch(run, waiter) }
  }

  private func launch(_ missing: Range<Int>, _ waiter: Waiter) {
    let blob = waiter.blob
    var chunks = missing
    if waiter.fetchClass == .demand {
      chunks = blob.traffic.readahead.extend(missing, limit: blob.chunkCount)
      // Nothing is fetched twice for the sake of a long request.
      let end = (missing.upperBound..<chunks.upperBound).first { blob.traffic.flights[$0] != nil || isHere(blob, $0) }
      chunks = missing.lowerBound..<(end ?? chunks.upperBound)
    }
    let flight = Flight(blob, chunks, waiter.fetchClass)
    for chunk in missing { flight.waiters[chunk] = [waiter] }
    enqueue(flight)
  }

  /// Whether a chunk can be read; one of the cache that this process has not read before is checked now.
  func isHere(_ blob: RemoteBlob, _ chunk: Int) -> Bool {
    if blob.view.isChecked(chunk) || blob.memory.view.word(chunk).isPresent { return true }
    guard let cached = blob.cached, cached.view.word(chunk).isPresent else { return false }
    if let word = cached.check(chunk, into: checkBuffer) {
      blob.noteChecked(chunk, word)
      return true
    }
    dropDamaged(blob, chunk)
    return false
  }

  /// Drops what the places have of a chunk.
  private func dropDamaged(_ blob: RemoteBlob, _ chunk: Int) {
    if blob.memory.view.word(chunk).isPresent { blob.memory.drop(chunk) }
    guard let cached = blob.cached, cached.view.word(chunk).isPresent, cached.claim(chunk..<chunk + 1) else { return }
    cached.drop(chunk)
    cached.release(chunk..<chunk + 1)
    counters.repairsAtomic.add(1, ordering: .relaxed)
    blob.traffic.complete = 0
    blob.traffic.wasComplete = false
    report(.repaired(blob: blob.name, offset: cached.range(of: chunk).lowerBound))
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
    guard chunks.count <= Self.memoryChunksMax / 4, chunks.allSatisfy({ isHere(blob, $0) }) else {
      // Dropped in between. From the loop anew, so that a store whose limit is far too small does not recurse.
      return loop.perform { [self] in if !waiter.isDone, !isStopped { begin(waiter) } }
    }
    for chunk in chunks where !blob.memory.view.word(chunk).isPresent {
      guard let cached = blob.cached, cached.check(chunk, into: checkBuffer) != nil else { continue }
      let bytes = UnsafeRawBufferPointer(rebasing: checkBuffer[..<cached.range(of: chunk).count])
      if let error = keepInMemory(blob, chunk, bytes) { return waiter.finish(error) }
    }
    loop.perform { [self] in if !waiter.isDone, !isStopped { begin(waiter) } }
  }

  /// Puts a chunk into memory, where the oldest goes for it.
  func keepInMemory(_ blob: RemoteBlob, _ chunk: Int, _ bytes: UnsafeRawBufferPointer) -> BlobError? {
    do throws(Errno) { try blob.memory.store(chunk, bytes) } catch {
      return .cache(what: "memory for what it has no room for cannot be had", path: blob.name, error)
    }
    counters.bypassesAtomic.add(1, ordering: .relaxed)
    inMemory.append((blob, chunk))
    if inMemory.count > Self.memoryChunksMax {
      let oldest = inMemory.removeFirst()
      oldest.blob.memory.drop(oldest.chunk)
    }
    return nil
  }

  /// Ends waits whose deadline has passed, four times a second while there are any.
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
      if !waiters.isEmpty { sweepSoon() }
    }
  }
}
