import CLinux
import Glibc
import Posix
import Synchronization

/// Where a queue hears from other threads: a list, and an event descriptor that the queue's ring waits for. Only what had
/// to wait comes this way, so it may lock and allocate.
final class Mailbox: Sendable {
  private let events = Mutex<[Event]>([])
  private let wake: Descriptor

  init() throws(Errno) { wake = Descriptor(owning: try retryingInterrupts { clinux_eventfd() }) }

  /// Readable when `take` has something.
  var descriptor: Int32 { wake.rawValue }

  func post(_ event: Event) {
    events.withLock { $0.append(event) }
    var one: UInt64 = 1
    _ = write(wake.rawValue, &one, 8)
  }

  /// What was posted since the last call.
  func take() -> [Event] {
    var count: UInt64 = 0
    _ = read(wake.rawValue, &count, 8)
    return events.withLock { events in
      defer { events = [] }
      return events
    }
  }
}
