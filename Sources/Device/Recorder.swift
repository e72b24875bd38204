import Posix

/// A range of the disk that was read for the first time since a recording began.
public struct FirstTouch: Equatable, Sendable {
  /// Nanoseconds since the recording began.
  public let nanoseconds: UInt64
  /// Bytes of the disk: whole blocks of 4 KiB, but for the disk's last one.
  public let device: Range<UInt64>
}

/// Records which parts of a disk are read, in the order of their first touch, at a cost that its readers do not notice.
/// <doc:Recording> has how.
///
/// For one thread at a time, which has to call ``drain(_:)`` often enough: a ring holds 8192 touches of a queue.
public final class Recorder: @unchecked Sendable {
  /// The smallest part of a disk that is recorded, bytes.
  public static let blockBytes = UInt64(1) << TouchTap.blockShift

  private let slots: UnsafeMutablePointer<TouchSlot>
  private let queues: Int
  private var deviceBytes: UInt64
  private var log: TouchLog?
  /// What a queue's thread, which got no processor for long, may still hold in its hand.
  private var stuck: [TouchLog] = []

  init(queues: Int, deviceBytes: UInt64) {
    self.queues = queues
    self.deviceBytes = deviceBytes
    slots = .allocate(capacity: queues)
    for queue in 0..<queues { (slots + queue).initialize(to: TouchSlot()) }
  }

  deinit {
    slots.deinitialize(count: queues)
    slots.deallocate()
  }

  /// What queue number `queue` looks at; valid while this object lives.
  func slot(_ queue: Int) -> UnsafeMutablePointer<TouchSlot> { slots + queue }

  /// Whether anything is recorded now.
  public var isRecording: Bool { log != nil }

  /// The disk has another size from now on. Not while something is recorded.
  func setSize(_ bytes: UInt64) {
    precondition(log == nil, "a recording has a bit for each block of the disk that it began with")
    deviceBytes = bytes
  }

  /// Begins to record; `EBUSY` when something is recorded already.
  public func start() throws(Errno) {
    if log != nil { throw .busy }
    let blocks = (deviceBytes + Self.blockBytes - 1) / Self.blockBytes
    let log = try TouchLog(blocks: blocks, queues: queues, began: monotonicNanoseconds())
    for queue in 0..<queues { slots[queue].set(log.tap(queue)) }
    self.log = log
  }

  /// Gives `body` what was touched since the last call: in the order of time for each queue.
  public func drain(_ body: (FirstTouch) -> Void) {
    guard let log else { return }
    for queue in 0..<queues { drain(log, queue, body) }
  }

  private func drain(_ log: TouchLog, _ queue: Int, _ body: (FirstTouch) -> Void) {
    log.tap(queue).pointee.drain { entry in
      let start = entry.firstBlock << TouchTap.blockShift
      let end = min(start + entry.count << TouchTap.blockShift, deviceBytes)
      body(FirstTouch(nanoseconds: entry.time, device: start..<end))
    }
  }

  /// Reads of which a part is missing because a queue touched more than its ring holds between two calls of `drain`.
  public var lostCount: UInt64 { log?.lostCount ?? 0 }

  /// Ends the recording, if there is one, after `body` got what was left of it. Returns ``lostCount``.
  public func stop(_ body: (FirstTouch) -> Void) -> UInt64 {
    guard let log else { return 0 }
    for queue in 0..<queues { slots[queue].set(nil) }
    let deadline = Deadline(milliseconds: 1000)
    let isUnused = (0..<queues).allSatisfy { slots[$0].waitUntilUnused(deadline) }
    drain(body)
    if !isUnused { stuck.append(log) }
    self.log = nil
    return log.lostCount
  }
}
