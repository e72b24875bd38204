import CLinux
import Glibc
import Posix
import Synchronization

/// A thread for what takes long and nobody waits for.
final class Keeper: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var isStopped = false
  }

  /// Shared with the thread, which may outlive the keeper by the job that it is at.
  private final class Inbox: Sendable {
    let state = Mutex(State())
    let wake: Descriptor

    init() throws(Errno) { wake = Descriptor(owning: try retryingInterrupts { clinux_eventfd() }) }

    func ring() {
      var one: UInt64 = 1
      _ = write(wake.rawValue, &one, 8)
    }

    func run() {
      while true {
        let (job, isStopped) = state.withLock { state in
          (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.isStopped)
        }
        if isStopped { return }
        if let job {
          job()
        } else {
          var entry = pollfd(fd: wake.rawValue, events: Int16(POLLIN), revents: 0)
          _ = poll(&entry, 1, -1)
          var count: UInt64 = 0
          _ = read(wake.rawValue, &count, 8)
        }
      }
    }
  }

  private let inbox: Inbox
  private let thread: Posix.Thread

  /// `name` is what `ps -L` shows.
  init(name: String) throws(Errno) {
    let inbox = try Inbox()
    self.inbox = inbox
    thread = try Posix.Thread(name: name) { inbox.run() }
  }

  deinit { stop() }

  /// Runs `job` when those before it are done.
  func perform(_ job: @escaping @Sendable () -> Void) {
    inbox.state.withLock { $0.jobs.append(job) }
    inbox.ring()
  }

  /// Whether the keeper is to end: a long job looks now and then. It does not keep the keeper.
  var isStopped: @Sendable () -> Bool { { [inbox] in inbox.state.withLock { $0.isStopped } } }

  /// Forgets the jobs that have not begun and ends the thread; waits at most a few seconds for the one under way.
  func stop() {
    let wasStopped = inbox.state.withLock { state in
      defer { state = State(jobs: [], isStopped: true) }
      return state.isStopped
    }
    if wasStopped { return }
    inbox.ring()
    _ = thread.join(Deadline(milliseconds: 3000))
  }
}
