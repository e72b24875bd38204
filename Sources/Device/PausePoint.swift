import Posix
import Synchronization
import UpperLayer

/// Where a queue is told to stop for a moment, says that it has, and gets what it goes on with. Orders come as letters.
final class PausePoint: Sendable {
  /// What a queue goes on with in the place of what it had.
  struct Change: Sendable {
    let source: QueueSource
    let upper: Upper
  }

  enum Order: @unchecked Sendable {
    /// Take no new request; when nothing is in flight any more, say so. The files are put into the ring's table before; what
    /// is said is 0, or why that failed.
    case pause(files: [LayerFile], reply: OneShot<Int32>)
    /// Go on.
    case resume(Change?)
  }

  private let orders = Mutex<[Order]>([])
  private let mailbox: Mailbox

  init(_ mailbox: Mailbox) { self.mailbox = mailbox }

  func give(_ order: Order) {
    orders.withLock { $0.append(order) }
    mailbox.post(Event(.order, 0, result: 0))
  }

  /// The first of those that were not taken; there is one for each letter.
  func take() -> Order? { orders.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
}

/// A moment in which none of a device's queues has anything in flight. What arrives meanwhile is held.
enum QueuePause {
  /// How often it is looked whether a queue is still there.
  private static let lookMilliseconds = 20

  /// Runs `body` in such a moment and returns how long it lasted, in nanoseconds, from when the first queue was told to stop.
  /// `body` may say what the queues go on with. Before it runs, `files` are in their tables.
  ///
  /// When `body` throws, or not all queues have stopped before the deadline, they go on as they were. `hasEnded`: whether
  /// there are queues that will not answer any more.
  static func run(
    _ points: [PausePoint], _ files: [LayerFile], _ deadline: Deadline, hasEnded: () -> Bool,
    _ body: () throws(DeviceError) -> PausePoint.Change?
  ) throws(DeviceError) -> UInt64 {
    let began = monotonicNanoseconds()
    let replies = points.map { _ in OneShot<Int32>() }
    for (point, reply) in zip(points, replies) { point.give(.pause(files: files, reply: reply)) }
    let change: PausePoint.Change?
    do throws(DeviceError) {
      for reply in replies { try wait(reply, deadline, hasEnded) }
      change = try body()
    } catch {
      for point in points { point.give(.resume(nil)) }
      throw error
    }
    for point in points { point.give(.resume(change)) }
    return monotonicNanoseconds() - began
  }

  private static func wait(
    _ reply: OneShot<Int32>, _ deadline: Deadline, _ hasEnded: () -> Bool
  ) throws(DeviceError) {
    while true {
      let slice = Deadline(milliseconds: min(lookMilliseconds, Int(clamping: deadline.remaining / 1_000_000) + 1))
      if let code = reply.wait(slice) {
        if code == 0 { return }
        throw .system(what: "put a file into the ring of a queue", Errno(rawValue: code))
      }
      if hasEnded() { throw .timedOut(what: "a queue has ended: the device is being taken away") }
      if deadline.hasPassed {
        throw .timedOut(
          what: "requests are under way that did not end in time, such as reads that wait for a registry or for a slow "
            + "disk; nothing was changed, try again")
      }
    }
  }
}
