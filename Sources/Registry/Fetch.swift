import Posix

/// One call of ``RegistryClient/fetch(_:_:into:deadline:progress:completion:)``: rounds over the routes until the bytes
/// are there. Of the loop's thread.
///
///     round ─▶ route ─▶ authorize ─▶ gate of the host ─▶ place in its queue ─▶ exchange ─▶ answer
///       ▲        ▲          ▲                │                                               │
///       │        │          └── redirect, other credentials, resolved anew, the rest ────────┤
///       │        └── the next route, at once ◀── resting ──────────────────── failed ────────┤
///       └── after a delay, when no route is left                                             ▼ done
final class Fetch {
  let client: RegistryClient
  let handle: FetchHandle
  let blob: BlobLocation
  let asked: FetchRange
  let deadline: Deadline?
  let routes: [Route]
  private let buffer: UnsafeMutableRawBufferPointer
  private let progress: (Int) -> Void
  private let completion: (Result<FetchResult, RegistryError>) -> Void
  private let startedAt = monotonicNanoseconds()
  private var deadlineTimer: TimerQueue.Identifier?

  var state = State.idle
  /// Bytes at the beginning of the buffer that are in place.
  private(set) var filled = 0
  /// What is fetched, when it is known: at once, or with the answer to a suffix.
  var range: Range<UInt64>?
  var totalSize: UInt64?
  var attempts = 1
  /// Rounds in a row that brought nothing.
  var fruitless = 0
  /// `filled` at the last failure.
  var filledBefore = 0
  var lastError: RegistryError?

  /// The route that is tried, and the hosts that rested in this round.
  var routeIndex = 0
  var resting: [(host: HostState, end: UInt64)] = []
  var wasTried = false
  var attempt: Attempt
  /// Where this fetch may be the probe.
  var parkedAt: HostState?

  enum State {
    case idle
    case waiting(TimerQueue.Identifier)
    /// Waits for the end of a host's rest, or for a place.
    case parked(HostState)
    case queued(HostState)
    case authorizing
    case exchanging(Exchange, HostState)
    case ended
  }

  init(
    client: RegistryClient, handle: FetchHandle, blob: BlobLocation, asked: FetchRange,
    buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?, progress: @escaping (Int) -> Void,
    completion: @escaping (Result<FetchResult, RegistryError>) -> Void
  ) {
    self.client = client
    self.handle = handle
    self.blob = blob
    self.asked = asked
    self.buffer = buffer
    self.deadline = deadline
    self.progress = progress
    self.completion = completion
    routes = Route.all(blob, client.settings)
    attempt = Attempt(route: routes[0])
    totalSize = client.memory.size(blob.digest)
    switch asked {
    case .bytes(let range): self.range = range
    case .suffix(let count): range = totalSize.map { RangeReply.tail(count, $0) }
    }
  }

  var core: LoopCore { client.loop.core }
  var limits: RegistrySettings.Limits { client.settings.limits }
  var isEnded: Bool { if case .ended = state { true } else { false } }

  /// What is still to be fetched.
  var rest: FetchRange {
    guard let range else { return asked }
    return .bytes(range.lowerBound + UInt64(filled)..<range.upperBound)
  }

  /// Begins; nothing is called before the caller has returned to the loop.
  func start() {
    if let deadline {
      deadlineTimer = core.timers.add(at: deadline.nanoseconds) { [self] in
        let base = routes[routes.count - 1].base
        finish(.failure(.deadline(place(base.authority, base.url), last: lastError)))
      }
    }
    core.enqueue { [self] in if !isEnded { beginRound() } }
  }

  /// Takes bytes of the answer; false when there is no need for more.
  func fill(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let range else { return false }
    let wanted = Int(range.upperBound - range.lowerBound) - filled
    let count = min(wanted, bytes.count)
    guard count > 0 else { return false }
    UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]).copyMemory(
      from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    filled += count
    progress(filled)
    return !isEnded && bytes.count <= wanted
  }

  var isFilled: Bool { range.map { UInt64(filled) == $0.upperBound - $0.lowerBound } ?? false }

  /// Ends the fetch, once, whatever it is doing.
  func finish(_ result: Result<FetchResult, RegistryError>) {
    guard !isEnded else { return }
    let before = state
    state = .ended
    core.timers.cancel(deadlineTimer)
    switch before {
    case .waiting(let timer): core.timers.cancel(timer)
    case .queued(let host), .parked(let host): host.forget(self)
    case .exchanging(let exchange, let host):
      core.abandon(exchange)
      host.leave()
      host.forget(self)
    case .idle, .authorizing, .ended: break
    }
    parkedAt?.forget(self)
    client.ended(handle)
    core.enqueue { [completion] in completion(result) }
  }

  func succeed(_ exchange: Exchange, _ host: HostState) {
    let result = FetchResult(
      range: range!, totalSize: totalSize, host: host.name,
      firstByteMicroseconds: Int((exchange.headAt - exchange.startedAt) / 1000),
      microseconds: Int((monotonicNanoseconds() - startedAt) / 1000), attempts: attempts)
    finish(.success(result))
  }

  func place(_ host: String, _ url: String) -> RegistryError.Place {
    RegistryError.Place(blob: blob.digest, host: host, url: withoutSecrets(url))
  }
}
