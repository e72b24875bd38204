import CLinux
import Glibc
import Synchronization

/// A thread that can be waited for with a deadline. Must be joined or detached.
public final class Thread: Sendable {
  private let handle: pthread_t
  private let work: Work

  private final class Work: Sendable {
    let name: String
    let body: @Sendable () -> Void
    let hasEnded = Atomic<Bool>(false)

    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Starts a thread. `name` is what `ps -L` shows: the first 15 bytes of it.
  public init(name: String, _ body: @escaping @Sendable () -> Void) throws(Errno) {
    let work = Work(name: name, body: body)
    let argument = Unmanaged.passRetained(work)
    var handle = pthread_t()
    let result = pthread_create(
      &handle, nil,
      { argument in
        let work = Unmanaged<Work>.fromOpaque(argument!).takeRetainedValue()
        clinux_set_thread_name(work.name)
        work.body()
        work.hasEnded.store(true, ordering: .releasing)
        return nil
      }, argument.toOpaque())
    if result != 0 {
      argument.release()
      throw Errno(rawValue: result)
    }
    self.handle = handle
    self.work = work
  }

  /// Waits for the end of the thread; false when the deadline came first. Call it again then, or leave the thread
  /// to the end of the process.
  public func join(_ deadline: Deadline) -> Bool {
    guard deadline.wait(interval: 1, until: { work.hasEnded.load(ordering: .acquiring) }) else { return false }
    pthread_join(handle, nil)
    return true
  }

  /// Nobody will wait for it: it ends by itself.
  public func detach() { pthread_detach(handle) }
}
