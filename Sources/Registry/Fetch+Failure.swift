import Posix

/// What follows a failure.
extension Fetch {
  /// The attempt failed. Another route is tried at once; after the last one it is the registry's own error that counts.
  func fail(_ error: RegistryError) {
    guard !isEnded else { return }
    state = .idle
    lastError = error
    let route = attempt.route
    if route.isMirror {
      switch error {
      case .notFound, .unauthorized, .forbidden: client.memory.noteAbsence(route.base.url)
      default: break
      }
    }
    if routeIndex + 1 < routes.count {
      tell(error, retryMilliseconds: 0)
      routeIndex += 1
      attempts += 1
      return tryRoute()
    }
    if error.isFinal || (deadline != nil && !error.isRetryable) || isHopeless(error) {
      tell(error, retryMilliseconds: nil)
      return finish(.failure(error))
    }
    let delay = retryLater(error.isRetryable)
    tell(error, retryMilliseconds: delay)
  }

  /// Whether a hasty client gives up: what is wrong with a name or a certificate is wrong a second later too.
  private func isHopeless(_ error: RegistryError) -> Bool {
    if !client.isHasty { return false }
    switch error {
    case .name, .certificate: return true
    default: return filled == filledBefore && fruitless >= 2
    }
  }

  /// Begins another round after a delay, which is the result.
  @discardableResult
  func retryLater(_ isRetryable: Bool) -> Int {
    attempts += 1
    parkedAt?.forget(self)
    parkedAt = nil
    fruitless = filled > filledBefore ? 0 : fruitless + 1
    filledBefore = filled
    let last = routes[routes.count - 1].base
    var delay = fruitless == 0 ? 0 : limits.retryDelay << min(fruitless - 1, 16)
    // What somebody has to mend takes longer.
    delay = jittered(isRetryable ? min(delay, limits.retryDelayMax) : limits.retryDelayMax)
    delay = max(delay, client.host(last.origin, name: last.authority).budgetDelay())
    // One more try before the deadline is better than none.
    if let deadline { delay = min(delay, Int(deadline.remaining / 2_000_000)) }
    let time = monotonicNanoseconds() + UInt64(delay) * 1_000_000
    state = .waiting(core.timers.add(at: time) { [self] in if !isEnded { beginRound() } })
    return delay
  }

  private func tell(_ error: RegistryError, retryMilliseconds: Int?) {
    let host = error.place?.host ?? attempt.url.authority
    client.tell(
      .attempt(host: host, blob: blob.digest, error: error, number: attempts, retryMilliseconds: retryMilliseconds))
  }
}
