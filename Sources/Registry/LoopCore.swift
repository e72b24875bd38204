import CCurl
import Glibc
import Posix
import Synchronization

/// What runs on the thread of a ``NetworkLoop``. All of it is touched by that thread only, but for the inbox.
final class LoopCore: @unchecked Sendable {
  let curl: Curl
  private let multi: UnsafeMutableRawPointer
  private let owner = Atomic<UInt>(0)
  private let inbox = Mutex(Inbox())

  /// For what must run later.
  var timers = TimerQueue()
  /// Run when the loop is stopped; what they put into ``enqueue(_:)`` is still run.
  var stopHooks: [() -> Void] = []
  /// For what would block.
  let work = LoopWork()

  private var local: [() -> Void] = []
  private var starting: [Exchange] = []
  private var ending: [Exchange] = []
  private var running: [UnsafeMutableRawPointer: Exchange] = [:]
  private var idleHandles: [UnsafeMutableRawPointer] = []
  private var nextWatch: UInt64 = 0

  private struct Inbox {
    var bodies: [@Sendable () -> Void] = []
    var isStopping = false
    var isClosed = false
  }

  /// Nanoseconds between two looks at the limits of running exchanges.
  private static let watchInterval: UInt64 = 100_000_000
  /// Handles of curl to keep for later exchanges: some 10 KB each, after HTTP/2 with their buffer.
  private static let idleHandleLimit = 8
  /// Bytes that curl reads at once.
  private static let bufferSize = 128 << 10
  /// Turns of completions after the stop.
  private static let lastRounds = 1000
  /// Connections that are kept for later, to all hosts.
  private static let connectionLimit = 64

  init() throws(RegistryError) {
    curl = try Curl.loaded()
    guard let multi = curl.multiInit() else { throw .library(problem: "curl_multi_init: no memory") }
    self.multi = multi
    _ = ccurl_multi_set_long(curl.multiSetOption, multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX)
    _ = ccurl_multi_set_long(curl.multiSetOption, multi, CURLMOPT_MAXCONNECTS, Self.connectionLimit)
  }

  // MARK: From any thread

  var isCurrent: Bool { owner.load(ordering: .relaxed) == pthread_self() }

  func post(_ body: @escaping @Sendable () -> Void) {
    inbox.withLock { inbox in
      guard !inbox.isClosed else { return }
      inbox.bodies.append(body)
      // Under the lock, so that the handle is still there.
      if inbox.bodies.count == 1 { _ = curl.multiWakeup(multi) }
    }
  }

  func requestStop() {
    inbox.withLock { inbox in
      guard !inbox.isClosed else { return }
      inbox.isStopping = true
      _ = curl.multiWakeup(multi)
    }
  }

  // MARK: On the loop's thread

  /// Runs `body` after the caller has returned to the loop.
  func enqueue(_ body: @escaping () -> Void) { local.append(body) }

  /// Begins a request. Its callbacks come later, and only on this thread.
  func start(_ exchange: Exchange) { starting.append(exchange) }

  /// Ends a request of which nothing is wanted any more: none of its callbacks is called from now on.
  func abandon(_ exchange: Exchange) {
    guard !exchange.isAbandoned else { return }
    exchange.isAbandoned = true
    ending.append(exchange)
  }

  /// The thread.
  func run() {
    owner.store(pthread_self(), ordering: .relaxed)
    ignoreBrokenPipes()
    while !takeInbox() {
      runLocal()
      step()
    }
    for hook in stopHooks { hook() }
    stopHooks = []
    // Completions may ask for more, which ends at once; those that never stop asking are not listened to for ever.
    for _ in 0..<Self.lastRounds where !local.isEmpty || !ending.isEmpty {
      runLocal()
      endAbandoned()
    }
    work.stop()
    close()
  }

  /// A connection that the peer has closed would end the process by SIGPIPE, which goes to the thread that writes.
  private func ignoreBrokenPipes() {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGPIPE)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
  }

  /// True when the loop has to stop.
  private func takeInbox() -> Bool {
    let (bodies, isStopping) = inbox.withLock { inbox in
      defer { inbox.bodies.removeAll(keepingCapacity: true) }
      return (inbox.bodies, inbox.isStopping)
    }
    for body in bodies { body() }
    return isStopping
  }

  private func runLocal() {
    let now = monotonicNanoseconds()
    while let body = timers.take(now: now) { body() }
    let bodies = local
    local.removeAll(keepingCapacity: true)
    for body in bodies { body() }
  }

  private func step() {
    endAbandoned()
    let exchanges = starting
    starting.removeAll(keepingCapacity: true)
    for exchange in exchanges { begin(exchange) }
    var count: Int32 = 0
    let code = curl.multiPerform(multi, &count)
    if code != CURLM_OK { failAll(curl.words(code)) }
    readMessages()
    watch()
    endAbandoned()
    if local.isEmpty && starting.isEmpty { _ = curl.multiPoll(multi, nil, 0, pollMilliseconds, nil) }
  }

  /// Until the next timer; curl looks at its own.
  private var pollMilliseconds: Int32 {
    var next = timers.next() ?? .max
    if !running.isEmpty { next = min(next, nextWatch) }
    let now = monotonicNanoseconds()
    guard next > now else { return 0 }
    return Int32(min(60_000, (next - now) / 1_000_000 + 1))
  }

  private func begin(_ exchange: Exchange) {
    guard !exchange.isAbandoned else { return }
    guard let handle = takeHandle() else {
      return exchange.end(.failed(CURLE_OUT_OF_MEMORY, words: "no memory for a request"))
    }
    let code = exchange.prepare(handle, curl)
    if code != CURLE_OK {
      curl.easyCleanup(handle)
      return exchange.end(.failed(code, words: curl.words(code)))
    }
    let added = curl.multiAdd(multi, handle)
    if added != CURLM_OK {
      curl.easyCleanup(handle)
      return exchange.end(.failed(CURLE_FAILED_INIT, words: curl.words(added)))
    }
    running[handle] = exchange
  }

  /// A handle with a large buffer. libcurl 7.88 lets one that was used keep its buffer, often with HTTP/2, and then it
  /// cannot be told a size again and would use a small part of it.
  private func takeHandle() -> UnsafeMutableRawPointer? {
    func isReady(_ handle: UnsafeMutableRawPointer) -> Bool {
      ccurl_set_long(curl.setOption, handle, CURLOPT_BUFFERSIZE, Self.bufferSize) == CURLE_OK
    }
    if let handle = idleHandles.popLast() {
      if isReady(handle) { return handle }
      curl.easyCleanup(handle)
    }
    return curl.easyInit().flatMap { isReady($0) ? $0 : nil }
  }

  private func readMessages() {
    var left: Int32 = 0
    while let message = curl.multiInfo(multi, &left) {
      guard message.pointee.msg == CURLMSG_DONE, let handle = message.pointee.easy_handle else { continue }
      let result = ccurl_message_result(message)
      guard let exchange = running[handle] else { continue }
      exchange.collect(handle, curl)
      remove(handle)
      if !exchange.isAbandoned { exchange.finish(result, curl) }
    }
  }

  private func endAbandoned() {
    for exchange in ending {
      if let handle = exchange.handle, running[handle] === exchange { remove(handle) }
      exchange.forget()
    }
    ending.removeAll(keepingCapacity: true)
  }

  private func watch() {
    let now = monotonicNanoseconds()
    guard now >= nextWatch, !running.isEmpty else { return }
    nextWatch = now + Self.watchInterval
    for (handle, exchange) in running where !exchange.isAbandoned {
      guard let overdue = exchange.overdue(now) else { continue }
      exchange.collect(handle, curl)
      remove(handle)
      exchange.end(overdue)
    }
  }

  private func failAll(_ words: String) {
    for (handle, exchange) in running {
      remove(handle)
      if !exchange.isAbandoned { exchange.end(.failed(CURLE_FAILED_INIT, words: words)) }
    }
  }

  private func remove(_ handle: UnsafeMutableRawPointer) {
    _ = curl.multiRemove(multi, handle)
    running[handle]?.handle = nil
    running[handle] = nil
    recycle(handle)
  }

  private func recycle(_ handle: UnsafeMutableRawPointer) {
    guard idleHandles.count < Self.idleHandleLimit else { return curl.easyCleanup(handle) }
    curl.easyReset(handle)
    idleHandles.append(handle)
  }

  /// Gives everything of curl back. Also for a loop whose thread never was.
  func close() {
    let dropped = inbox.withLock { inbox in
      inbox.isClosed = true
      defer { inbox.bodies = [] }
      return inbox.bodies
    }
    _ = dropped
    for (handle, exchange) in running {
      remove(handle)
      exchange.forget()
    }
    for handle in idleHandles { curl.easyCleanup(handle) }
    idleHandles = []
    _ = curl.multiCleanup(multi)
  }
}
