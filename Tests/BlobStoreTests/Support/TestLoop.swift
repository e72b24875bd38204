import BlobStore
import Glibc
import Posix

/// A thread that does what the network's loop does for a store.
final class TestLoop: EventLoop, @unchecked Sendable {
  private struct Timer {
    let time: UInt64
    let body: @Sendable () -> Void
  }

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  // Under the mutex.
  private var work: [@Sendable () -> Void] = []
  private var timers: [Timer] = []
  private var isStopped = false
  private var isPaused = false
  private var owner: pthread_t?
  private var thread: Posix.Thread?

  init() {
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, &attributes)
    thread = try! Posix.Thread(name: "test-loop") { [unowned self] in run() }
  }

  deinit {
    stop()
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  func perform(_ body: @escaping @Sendable () -> Void) { change { work.append(body) } }

  func after(milliseconds: Int, _ body: @escaping @Sendable () -> Void) {
    let time = monotonicNanoseconds() + UInt64(max(0, milliseconds)) * 1_000_000
    change { timers.append(Timer(time: time, body: body)) }
  }

  var isCurrent: Bool { locked { owner.map { pthread_equal($0, pthread_self()) != 0 } ?? false } }

  /// Ends the thread; what is not done by then is dropped.
  func stop() {
    change {
      isStopped = true
      work = []
      timers = []
    }
    if let thread, !isCurrent { _ = thread.join(Deadline(milliseconds: 10_000)) }
    thread = nil
  }

  /// Stands still, as a process that got SIGSTOP does, until `resume`.
  func pause() { change { isPaused = true } }
  func resume() { change { isPaused = false } }

  /// Runs `body` on the loop's thread and returns what it returns.
  func run<T: Sendable>(_ body: @escaping @Sendable () -> T) -> T {
    let answer = OneShot<T>()
    perform { answer.set(body()) }
    guard let value = answer.wait(Deadline(milliseconds: 60_000)) else { fatalError("the test loop is stuck") }
    return value
  }

  private func locked<T>(_ body: () -> T) -> T {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return body()
  }

  private func change(_ body: () -> Void) {
    locked(body)
    pthread_cond_broadcast(condition)
  }

  private func run() {
    locked { owner = pthread_self() }
    while let bodies = next() {
      for body in bodies { body() }
    }
  }

  /// What is to be done now; waits for it. Nil at the end.
  private func next() -> [@Sendable () -> Void]? {
    locked {
      while !isStopped {
        let now = monotonicNanoseconds()
        let due = timers.filter { $0.time <= now }.sorted { $0.time < $1.time }
        if !isPaused, !due.isEmpty || !work.isEmpty {
          timers.removeAll { $0.time <= now }
          defer { work = [] }
          return due.map(\.body) + work
        }
        let until = isPaused ? now + 1_000_000_000 : timers.map(\.time).min() ?? now + 1_000_000_000
        var end = timespec(tv_sec: Int(until / 1_000_000_000), tv_nsec: Int(until % 1_000_000_000))
        pthread_cond_timedwait(condition, mutex, &end)
      }
      return nil
    }
  }
}
