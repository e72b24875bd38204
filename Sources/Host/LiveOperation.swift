import CLinux
import Glibc
import Posix
import Synchronization

/// Something long that a device's server does beside all else, on a thread of its own.
final class LiveOperation: Sendable {
  /// For messages.
  let name: String
  private let isCancelled = Atomic<Bool>(false)
  private let result = OneShot<Result<ControlReply, HostError>>()
  private let latest = Mutex<ControlReply?>(nil)

  /// Starts it, when `previous` has ended, which is told to. `ended` is an event descriptor that is written at the end.
  init(
    _ name: String, device: UInt32, after previous: LiveOperation?, ended: Int32,
    _ body: @escaping @Sendable (LiveOperation) throws(HostError) -> ControlReply
  ) throws(HostError) {
    self.name = name
    previous?.cancel()
    let thread = try HostError.describing("start a thread for a \(name)") { () throws(Errno) in
      try Posix.Thread(name: "ublk\(device)-live") { [self] in
        // As a queue's thread: memory must not be had by writing to the disk that is worked on.
        _ = clinux_prctl(CLINUX_PR_SET_IO_FLUSHER, 1)
        if let previous { _ = previous.wait(Deadline(milliseconds: 60_000)) }
        do throws(HostError) {
          result.set(.success(try body(self)))
        } catch {
          result.set(.failure(error))
        }
        var one: UInt64 = 1
        _ = write(ended, &one, 8)
      }
    }
    thread.detach()
  }

  /// Asks it to end soon.
  func cancel() { isCancelled.store(true, ordering: .relaxed) }

  var isWanted: Bool { !isCancelled.load(ordering: .relaxed) }

  /// What it came to; nil when the deadline came first.
  func wait(_ deadline: Deadline) -> Result<ControlReply, HostError>? { result.wait(deadline) }

  /// How far it is, for whoever waits for it.
  func show(_ progress: ControlReply) { latest.withLock { $0 = progress } }

  /// What was shown since the last call.
  func takeProgress() -> ControlReply? {
    latest.withLock { latest in
      defer { latest = nil }
      return latest
    }
  }
}
