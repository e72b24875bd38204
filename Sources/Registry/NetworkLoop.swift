import Posix
import Synchronization

/// A thread with a curl multi handle. Everything of a ``RegistryClient`` runs on it, and nothing on it may block.
///
/// It runs until ``stop()``. The first one of a process loads libcurl, so it has to be made after a fork.
public final class NetworkLoop: Sendable {
  let core: LoopCore
  private let thread: Mutex<Thread?>

  /// Milliseconds that ``stop()`` gives the thread to end. Nothing on it waits; the rest is for a loaded machine.
  private static let stopLimit = 10_000

  /// Starts the thread. `name` is what `ps -L` shows.
  public init(name: String) throws(RegistryError) {
    let core = try LoopCore()
    self.core = core
    do throws(Errno) {
      thread = Mutex(try Thread(name: name) { core.run() })
    } catch {
      core.close()
      throw .thread(error)
    }
  }

  /// Runs `body` on the loop's thread, soon, and in the order of the calls. From any thread. After ``stop()`` it is
  /// dropped.
  public func perform(_ body: @escaping @Sendable () -> Void) { core.post(body) }

  /// Runs `body` on the loop's thread when `milliseconds` have gone by. From any thread. After ``stop()`` it is dropped.
  public func after(milliseconds: Int, _ body: @escaping @Sendable () -> Void) {
    let time = monotonicNanoseconds() + UInt64(max(0, milliseconds)) * 1_000_000
    if isCurrent {
      core.timers.add(at: time, body)
    } else {
      core.post { [core] in core.timers.add(at: time, body) }
    }
  }

  /// Whether the caller runs on the loop's thread.
  public var isCurrent: Bool { core.isCurrent }

  /// Cancels every transfer, whose completions are called with ``RegistryError/cancelled`` on the loop's thread, and
  /// ends the thread. Never from the loop's own thread. False when the thread did not end within 10 s, because
  /// something that was given to ``perform(_:)`` blocks it; then it ends when that does.
  @discardableResult
  public func stop() -> Bool {
    precondition(!isCurrent, "a network loop cannot wait for itself")
    core.requestStop()
    return thread.withLock { thread in
      guard let running = thread else { return true }
      guard running.join(Deadline(milliseconds: Self.stopLimit)) else { return false }
      thread = nil
      return true
    }
  }
}
