import Posix
import Registry
import Synchronization

/// How flights end, and go on when they failed.
extension BlobStore {
  /// The origin has answered: `buffer` begins with chunk `start`.
  func completed(
    _ flight: Flight, from start: Int, _ buffer: UnsafeMutableRawBufferPointer,
    _ result: Result<FetchResult, RegistryError>
  ) {
    guard case .flying = flight.state else { return }
    let blob = flight.blob
    switch result {
    case .success(let found):
      nextTry = nil
      pace.noteFirstByte(found.firstByteMicroseconds, beside: flyingBytes.values.reduce(0, +))
      if let size = found.totalSize, size != blob.size {
        let (digest, url) = (blob.location.digest, blob.location.url)
        end(flight, failing: .sizeMismatch(digest: digest, expected: blob.size, found: size, where: url))
        return startWaiting()
      }
      blob.traffic.isSizeKnown = true
      if found.range.lowerBound == blob.bytes(of: start..<start + 1).lowerBound {
        progress(flight, from: start, buffer, min(buffer.count, found.range.count))
      }
      end(flight, failing: flight.rest.isEmpty ? nil : .cut(blob: blob.name, chunk: flight.next))
    case .failure(.cancelled): end(flight, failing: .stopped)
    case .failure(let error): failed(flight, error)
    }
    startWaiting()
  }

  /// Milliseconds after which a registry that is away is asked again.
  private static let awayPause = 1000

  /// A fetch ended with an error: the flight goes on for those whose time is not over.
  private func failed(_ flight: Flight, _ error: RegistryError) {
    var isEarly = false
    if case .deadline = error {
      // The origin ends a fetch before its time when it knows that nothing will come within it.
      isEarly = !(flight.fetchDeadline?.hasPassed ?? true)
      holdPrefetch()
    }
    for waiter in flight.liveWaiters {
      guard let deadline = waiter.deadline else { continue }
      if case .deadline = error, !deadline.hasPassed {
        waiter.trouble = error
        continue
      }
      waiter.finish(.registry(error))
    }
    // Credentials may be mended, and registries come back; nobody is to be flooded while they are not.
    let waits = isEarly || flight.liveWaiters.contains { $0.deadline == nil }
    goOn(flight, after: waits ? Self.awayPause : 0)
  }

  /// Lets no prefetch start for a while, and then one at a time, until something comes.
  private func holdPrefetch() {
    nextTry = Deadline(milliseconds: Self.awayPause)
    loop.after(milliseconds: Self.awayPause + 1) { [weak self] in self?.startWaiting() }
  }

  /// Cancels a fetch that the origin should have ended a second ago.
  func restartIfStuck(_ flight: Flight) {
    guard case .flying(let handle) = flight.state, let deadline = flight.fetchDeadline,
      deadline.nanoseconds + 1_000_000_000 < monotonicNanoseconds()
    else { return }
    if let handle { origin.cancel(handle) }
    goOn(flight, after: 0)
    startWaiting()
  }

  /// Lets a flight whose fetch is over wait and then fly again, if somebody still waits for it. Its claims are others'
  /// to take as long: they may have a better way.
  private func goOn(_ flight: Flight, after milliseconds: Int) {
    countFlying(flight, as: flight.fetchClass, -1)
    freeBuffer(flight)
    flight.state = .pausing
    releaseClaims(flight)
    if !flight.isWanted { return end(flight, failing: nil) }
    loop.after(milliseconds: milliseconds) { [weak self, weak flight] in
      guard let self, let flight, case .pausing = flight.state else { return }
      if !flight.isWanted { return end(flight, failing: nil) }
      flight.state = .waiting
      waiting[flight.fetchClass, default: []].append(flight)
      startWaiting()
    }
  }

  /// Ends a flight, whatever became of it.
  func end(_ flight: Flight, failing error: BlobError?) {
    if case .ended = flight.state { return }
    retire(flight)
    for waiter in flight.liveWaiters { waiter.finish(error ?? .cut(blob: flight.blob.name, chunk: flight.next)) }
  }

  /// Takes a flight out of all lists, its waiters excepted.
  func retire(_ flight: Flight) {
    let state = flight.state
    flight.state = .ended
    flights[ObjectIdentifier(flight)] = nil
    flight.blob.traffic.remove(flight)
    switch state {
    case .waiting: waiting[flight.fetchClass]?.removeAll { $0 === flight }
    case .flying(let handle):
      countFlying(flight, as: flight.fetchClass, -1)
      if let handle { origin.cancel(handle) }
    case .pausing, .ended: break
    }
    freeBuffer(flight)
    releaseClaims(flight)
  }

  /// Only once the origin does not write to it any more.
  private func freeBuffer(_ flight: Flight) {
    buffers.put(flight.buffer)
    flight.buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  }

  private func releaseClaims(_ flight: Flight) {
    if flight.holdsClaims { flight.blob.cached?.release(flight.rest) }
    flight.holdsClaims = false
  }
}
