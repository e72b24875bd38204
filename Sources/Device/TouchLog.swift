import Posix
import Synchronization

/// The memory of one recording: a bit for each block of the disk, taken as it is written, and a ring for each queue.
///
/// A page of the bitmap is for 128 MiB of the disk, so it costs one 32768th of what is read at the most.
final class TouchLog: @unchecked Sendable {
  private let bitmap: MemoryMapping
  private let rings: MemoryMapping
  private let taps: UnsafeMutablePointer<TouchTap>
  private let queues: Int

  /// For a disk of `blocks` blocks.
  init(blocks: UInt64, queues: Int, began: UInt64) throws(Errno) {
    guard let words = Int(exactly: blocks / 64 + 1), words < Int.max / 8 else { throw .invalidArgument }
    let ringBytes = TouchTap.capacity * MemoryLayout<TouchTap.Entry>.stride
    let bitmap = try MemoryMapping(anonymous: words * 8)
    let rings = try MemoryMapping(anonymous: queues * ringBytes)
    taps = .allocate(capacity: queues)
    for queue in 0..<queues {
      (taps + queue).initialize(
        to: TouchTap(
          words: bitmap.base.assumingMemoryBound(to: Atomic<UInt64>.self),
          ring: (rings.base + queue * ringBytes).assumingMemoryBound(to: TouchTap.Entry.self), began: began))
    }
    self.queues = queues
    self.bitmap = bitmap
    self.rings = rings
  }

  deinit {
    taps.deinitialize(count: queues)
    taps.deallocate()
  }

  func tap(_ queue: Int) -> UnsafeMutablePointer<TouchTap> { taps + queue }

  /// Reads of which something was lost, of all queues.
  var lostCount: UInt64 { (0..<queues).reduce(0) { $0 + tap($1).pointee.lostCount } }
}
