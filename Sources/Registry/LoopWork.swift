import Posix
import Synchronization

/// Blocking work of a loop: each piece has a short-lived thread.
final class LoopWork: Sendable {
  /// Set when the loop stops; work looks at it and ends.
  let isCancelled = Atomic<Bool>(false)
  private let threads = Mutex<[UInt64: Thread]>([:])
  private let numbers = Atomic<UInt64>(0)

  /// Milliseconds after which the thread of a finished piece is joined.
  private static let joinDelay = 50

  /// Runs `body` on a thread of its own and `completion` with its result on the loop's. nil when there is no thread
  /// to be had. After the loop's stop `completion` is dropped.
  func run<Value: Sendable>(
    on core: LoopCore, name: String, _ body: @escaping @Sendable () -> Value,
    completion: @escaping @Sendable (Value?) -> Void
  ) {
    let number = numbers.add(1, ordering: .relaxed).newValue
    do throws(Errno) {
      let thread = try Thread(name: name) {
        let value = body()
        core.post {
          completion(value)
          self.join(number, on: core)
        }
      }
      threads.withLock { $0[number] = thread }
    } catch {
      core.enqueue { completion(nil) }
    }
  }

  /// The thread has posted its result and is about to end.
  private func join(_ number: UInt64, on core: LoopCore) {
    let later = monotonicNanoseconds() + UInt64(Self.joinDelay) * 1_000_000
    core.timers.add(at: later) { [self] in
      let isJoined = threads.withLock { threads in
        guard let thread = threads[number] else { return true }
        guard thread.join(Deadline(milliseconds: 0)) else { return false }
        threads[number] = nil
        return true
      }
      if !isJoined { join(number, on: core) }
    }
  }

  /// Ends what runs. Only at the end of the loop, because it waits.
  func stop() {
    isCancelled.store(true, ordering: .relaxed)
    let deadline = Deadline(milliseconds: 2000)
    threads.withLock { threads in
      for thread in threads.values { _ = thread.join(deadline) }
      threads = [:]
    }
  }
}
