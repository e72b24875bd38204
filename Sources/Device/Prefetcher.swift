import BlobStore
import CLinux
import Glibc
import Image
import Posix
import Synchronization

/// How a prefetch is done.
public struct PrefetchOptions: Sendable {
  /// Bytes a second that it may fetch; nil for as many as come.
  public var bytesPerSecond: UInt64?
  /// What all devices of the node may fetch together; nil for as much as comes.
  public var nodeRate: NodeRate?
  /// Milliseconds that a request may take.
  public var patience: Int

  /// All options.
  public init(bytesPerSecond: UInt64? = nil, nodeRate: NodeRate? = nil, patience: Int = 30_000) {
    self.bytesPerSecond = bytesPerSecond
    self.nodeRate = nodeRate
    self.patience = patience
  }
}

/// Brings what a plan names to this machine, with a thread for each queue of the device.
///
/// The requests, in the order in which they are due, are dealt out: each to the thread that has been given the fewest
/// bytes so far. So all have the same to do, within one request, and all are equally far in time. How many requests are
/// under way together is the store's business, which sees the network; a thread only keeps it supplied.
///
/// What fails is tried again, in a few rounds that are further and further apart: the registry may come back.
public final class Prefetcher: Sendable {
  private struct State {
    var progress = PrefetchProgress()
    var running = 0
    /// What did not come in this round.
    var failed: [WarmPlan.Request] = []
    var lastSuccess: UInt64 = 0
    var isStopped = false
  }

  /// Rounds after which what did not come is given up, and milliseconds before the second one; doubles.
  private static let roundsMax = 6
  private static let roundDelay = 2_000

  private let sources: [RemoteSource?]
  private let options: PrefetchOptions
  private let plan: WarmPlan
  private let threadCount: Int
  private let state = Mutex(State())
  private let began = Atomic<UInt64>(0)
  private let rate: RateLimit?
  private let change: Descriptor

  /// For `image`, with `threads` threads.
  public init(_ plan: WarmPlan, for image: Image, threads: Int, options: PrefetchOptions) throws(Errno) {
    sources = image.layers.map(\.blob.remote)
    self.plan = plan
    self.options = options
    threadCount = max(1, min(threads, plan.requests.count))
    rate = options.bytesPerSecond.map { RateLimit(bytesPerSecond: $0) }
    change = Descriptor(owning: try retryingInterrupts { clinux_eventfd() })
    state.withLock { $0.progress.wantedBytes = plan.requests.reduce(0) { $0 + UInt64($1.range.count) } }
  }

  /// Starts the threads. They end by themselves, and keep this object as long.
  public func start() throws(Errno) {
    began.store(monotonicNanoseconds(), ordering: .relaxed)
    for (layer, source) in sources.enumerated() {
      guard let source else { continue }
      source.store.foretell(source.blob, plan.requests.lazy.filter { $0.layer == layer }.map(\.range))
    }
    try run(plan.requests, round: 1)
  }

  /// Starts no more requests; those that are under way end with the store.
  public func stop() { state.withLock { $0.isStopped = true } }

  /// How far it is.
  public var progress: PrefetchProgress {
    state.withLock { state in
      var progress = state.progress
      if !progress.hasEnded { progress.milliseconds = elapsed }
      return progress
    }
  }

  /// Readable once something changed since it was read.
  public var changeDescriptor: Int32 { change.rawValue }

  private var elapsed: UInt64 { (monotonicNanoseconds() - began.load(ordering: .relaxed)) / 1_000_000 }

  // MARK: Threads

  private func run(_ requests: [WarmPlan.Request], round: Int) throws(Errno) {
    let shares = Self.shares(requests, count: threadCount).filter { !$0.isEmpty }
    state.withLock { state in
      state.running = shares.count
      state.lastSuccess = monotonicNanoseconds()
    }
    if shares.isEmpty { return endRound(round) }
    for (number, share) in shares.enumerated() {
      do throws(Errno) {
        let thread = try Posix.Thread(name: "prefetch-\(number)") { [self] in
          bring(share)
          endShare(round)
        }
        thread.detach()
      } catch {
        // One thread does what another could not be started for.
        if number == 0 { throw error }
        bring(share)
        endShare(round)
      }
    }
  }

  private func endShare(_ round: Int) {
    let isLast = state.withLock { state in
      state.running -= 1
      return state.running == 0
    }
    if isLast { endRound(round) }
  }

  /// Deals requests out, each to the share with the fewest bytes.
  static func shares(_ requests: [WarmPlan.Request], count: Int) -> [[WarmPlan.Request]] {
    var shares = [[WarmPlan.Request]](repeating: [], count: max(1, count))
    var bytes = [Int](repeating: 0, count: shares.count)
    for request in requests {
      let least = bytes.indices.min { bytes[$0] < bytes[$1] }!
      shares[least].append(request)
      bytes[least] += request.range.count
    }
    return shares
  }

  /// On the thread that ended last, which waits for the next round, or on the one that starts it if there is nothing.
  private func endRound(_ round: Int) {
    let milliseconds = elapsed
    let again = state.withLock { state -> [WarmPlan.Request] in
      if !state.progress.hasEnded { state.progress.milliseconds = milliseconds }
      state.progress.hasEnded = true
      let isOver = state.failed.isEmpty || state.isStopped || round == Self.roundsMax
      state.progress.isOver = isOver
      defer { state.failed = [] }
      return isOver ? [] : state.failed
    }
    signal()
    if again.isEmpty { return }
    let pause = Deadline(milliseconds: Self.roundDelay << (round - 1))
    if pause.wait(interval: 100, until: { state.withLock { $0.isStopped } }) {
      return state.withLock { $0.progress.isOver = true }
    }
    do throws(Errno) { try run(again, round: round + 1) } catch { state.withLock { $0.progress.isOver = true } }
  }

  // MARK: A share

  /// Requests of one thread that wait at the store or are under way.
  private static let outstandingMax = 64

  private func bring(_ share: [WarmPlan.Request]) {
    var rest = share
    while !rest.isEmpty {
      let late = Mutex<[WarmPlan.Request]>([])
      bring(rest) { request in late.withLock { $0.append(request) } }
      rest = late.withLock { $0 }
    }
  }

  /// Brings requests; those that have waited too long behind the others, on a way that others still come on, are `late`.
  private func bring(_ share: [WarmPlan.Request], late: @escaping @Sendable (WarmPlan.Request) -> Void) {
    let slots = Slots(count: Self.outstandingMax)
    for request in share {
      guard let source = sources[request.layer] else { continue }
      // Each request ends within its patience, and so does the wait for a slot.
      slots.take()
      if state.withLock({ $0.isStopped }) || isHopeless {
        source.store.giveUp(source.blob, request.range)
        note(request, .stopped, missing: 0)
        slots.give()
        continue
      }
      let missing = source.blob.missingBytes(request.range)
      rate?.wait(for: missing)
      options.nodeRate?.wait(for: missing)
      let asked = monotonicNanoseconds()
      source.store.prefetch(
        source.blob, request.range, deadline: Deadline(milliseconds: options.patience)
      ) { [self] error, missing in
        if let error, isLate(error, since: asked) { late(request) } else { note(request, error, missing: missing) }
        slots.give()
      }
    }
    slots.takeAll()
  }

  /// Whether a request failed for the time that it waited only: something came since it was asked for.
  private func isLate(_ error: BlobError, since asked: UInt64) -> Bool {
    switch error {
    case .timedOut, .registry(.deadline): break
    default: return false
    }
    return state.withLock { $0.lastSuccess > asked }
  }

  /// Nothing has come for as long as a request may take, and something has failed: the others would fail one after the
  /// other.
  private var isHopeless: Bool {
    state.withLock { state in
      !state.failed.isEmpty
        && monotonicNanoseconds() - state.lastSuccess > UInt64(options.patience) * 1_000_000
    }
  }

  private func note(_ request: WarmPlan.Request, _ error: BlobError?, missing: UInt64) {
    let bytes = UInt64(request.range.count)
    state.withLock { state in
      if let error {
        state.failed.append(request)
        // That something did not even have its turn says less than why.
        if case .timedOut = error, state.progress.lastError != nil { return }
        if error != .stopped { state.progress.lastError = error }
      } else {
        if missing > 0 { state.lastSuccess = monotonicNanoseconds() }
        state.progress.fetchedBytes += min(missing, bytes)
        state.progress.residentBytes += bytes - min(missing, bytes)
      }
    }
    signal()
  }

  /// Makes the descriptor unreadable until something changes again.
  public func clearChange() {
    var count: UInt64 = 0
    _ = read(change.rawValue, &count, 8)
  }

  private func signal() {
    var one: UInt64 = 1
    _ = write(change.rawValue, &one, 8)
  }
}
