import Posix

/// What a client knows of one host, and how much it asks of it. Of the loop's thread.
///
/// Two things keep requests back: too many are under way (they queue), or the host rests, because it failed too often
/// in a row or asked for time with `Retry-After` (they are parked). After a rest one request tries first, the probe;
/// its answer lets the others go.
final class HostState {
  /// `host:port`.
  let name: String
  private let core: LoopCore
  private let limits: RegistrySettings.Limits
  private let connections: Int

  /// The server sends the whole blob when asked for its end.
  var ignoresSuffix = false
  /// It answered with HTTP/2, where one connection carries many requests.
  var isMultiplexed = false

  private var active = 0
  private var queue: [Waiter] = []
  private var parked: [Waiter] = []
  private var restUntil: UInt64 = 0
  private var isResting = false
  private var probe: ObjectIdentifier?
  private var timer: TimerQueue.Identifier?
  private var restDelay: Int
  private var failedSince: UInt64 = 0
  private(set) var failures = 0
  private var budget: Double
  private var budgetAt: UInt64 = 0

  /// Requests per connection when there is HTTP/2.
  private static let streams = 4

  private struct Waiter {
    let owner: ObjectIdentifier
    let body: () -> Void
  }

  init(name: String, core: LoopCore, settings: RegistrySettings) {
    self.name = name
    self.core = core
    limits = settings.limits
    connections = max(1, settings.connectionsPerHost)
    restDelay = limits.breakerDelay
    budget = Double(limits.retryBurst)
  }

  // MARK: Permission to ask

  /// When the host may be asked again, in nanoseconds of the monotonic clock; nil when it may be asked now.
  func restEnd(for owner: AnyObject) -> UInt64? {
    guard isResting, probe != ObjectIdentifier(owner) else { return nil }
    return probe != nil || monotonicNanoseconds() < restUntil ? restUntil : nil
  }

  /// Whether nothing would be lost with it.
  var isIdle: Bool { active == 0 && queue.isEmpty && parked.isEmpty && !isResting && failures == 0 }

  /// Calls `body` when the rest is over for `owner`: as the probe, or after the probe's answer.
  func park(_ owner: AnyObject, _ body: @escaping () -> Void) {
    parked.append(Waiter(owner: ObjectIdentifier(owner), body: body))
    arm()
  }

  /// A request of `owner` is the probe, if the host rests and there is none.
  func claim(_ owner: AnyObject) {
    if isResting, probe == nil { probe = ObjectIdentifier(owner) }
  }

  /// Takes a place for a request; false: `body` will be called when there is one, with the place taken.
  func enter(_ owner: AnyObject, _ body: @escaping () -> Void) -> Bool {
    claim(owner)
    guard active >= connections * (isMultiplexed ? Self.streams : 1) else {
      active += 1
      return true
    }
    queue.append(Waiter(owner: ObjectIdentifier(owner), body: body))
    return false
  }

  /// Gives the place back.
  func leave() {
    active -= 1
    guard !queue.isEmpty, active < connections * (isMultiplexed ? Self.streams : 1) else { return }
    active += 1
    let next = queue.removeFirst()
    core.enqueue(next.body)
  }

  /// `owner` does not want to ask any more, and has no place. If it was the probe, another one will be.
  func forget(_ owner: AnyObject) {
    let owner = ObjectIdentifier(owner)
    queue.removeAll { $0.owner == owner }
    parked.removeAll { $0.owner == owner }
    guard probe == owner else { return }
    probe = nil
    arm()
  }

  // MARK: What became of it

  /// The host answered, whatever; what it was like before, when there is something to tell.
  func answered(_ owner: AnyObject) -> (failures: Int, milliseconds: Int)? {
    let before = failures
    let since = failedSince
    failures = 0
    if isResting, probe == ObjectIdentifier(owner) || restUntil <= monotonicNanoseconds() { wake() }
    guard before > 0 else { return nil }
    return (before, Int((monotonicNanoseconds() - since) / 1_000_000))
  }

  /// Nobody answered.
  func failed(_ owner: AnyObject) {
    if failures == 0 { failedSince = monotonicNanoseconds() }
    failures += 1
    let wasProbe = probe == ObjectIdentifier(owner)
    if wasProbe { probe = nil }
    if wasProbe || (!isResting && failures >= limits.breakerFailures) {
      rest(milliseconds: jittered(restDelay))
      restDelay = min(restDelay * 2, limits.breakerDelayMax)
    }
  }

  /// The host asked for time, or is given some.
  func rest(milliseconds: Int) {
    isResting = true
    probe = nil
    restUntil = max(restUntil, monotonicNanoseconds() + UInt64(max(0, milliseconds)) * 1_000_000)
    arm()
  }

  /// Milliseconds that a retry has to wait because there were many. Takes the retry from the budget.
  func budgetDelay() -> Int {
    let now = monotonicNanoseconds()
    let perSecond = Double(max(1, limits.retriesPerSecond))
    budget = min(Double(limits.retryBurst), budget + Double(now - budgetAt) / 1e9 * perSecond)
    budgetAt = now
    budget -= 1
    return budget >= 0 ? 0 : Int(-budget / perSecond * 1000)
  }

  private func wake() {
    isResting = false
    probe = nil
    restUntil = 0
    restDelay = limits.breakerDelay
    core.timers.cancel(timer)
    timer = nil
    for waiter in parked { core.enqueue(waiter.body) }
    parked = []
  }

  /// At the end of the rest, the first of those parked becomes the probe.
  private func arm() {
    core.timers.cancel(timer)
    timer = nil
    guard isResting, probe == nil, !parked.isEmpty else { return }
    timer = core.timers.add(at: restUntil) { [self] in
      timer = nil
      guard isResting, probe == nil, !parked.isEmpty else { return }
      let first = parked.removeFirst()
      probe = first.owner
      first.body()
    }
  }
}

/// Takes away a random half at most, so that many do not come back at the same moment.
func jittered(_ milliseconds: Int) -> Int { milliseconds - Int.random(in: 0...max(0, milliseconds / 2)) }
