import CLinux
import Glibc
import Posix
import Synchronization

/// What the thread of an operation tells the control thread, which waits for many things.
final class OperationEnd: Sendable {
  private let wake: Descriptor

  init() throws(HostError) {
    wake = try HostError.describing("make an event descriptor") { () throws(Errno) in
      Descriptor(owning: try retryingInterrupts { clinux_eventfd() })
    }
  }

  /// Readable once it was told.
  var descriptor: Int32 { wake.rawValue }

  func tell() {
    var one: UInt64 = 1
    _ = write(wake.rawValue, &one, 8)
  }

  func forget() {
    var count: UInt64 = 0
    _ = read(wake.rawValue, &count, 8)
  }
}

/// Something long that a device's server does beside all else, on a thread of its own.
final class LiveOperation: Sendable {
  /// For messages.
  let name: String
  private let isCancelled = Atomic<Bool>(false)
  private let result = OneShot<Result<ControlReply, HostError>>()
  private let latest = Mutex<ControlReply?>(nil)

  /// Starts it, when `previous` has ended, which is told to. `end` is told of its own end.
  init(
    _ name: String, device: UInt32, after previous: LiveOperation?, end: OperationEnd,
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
        end.tell()
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
