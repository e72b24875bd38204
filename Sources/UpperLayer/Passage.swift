import Posix
import Synchronization

/// Counts who is in a stretch of code, so that somebody can wait for all who are in there now, and for none who come later.
struct Passage: ~Copyable {
  private let turns = Atomic<UInt64>(0)
  private let evens = Atomic<Int>(0)
  private let odds = Atomic<Int>(0)

  /// What ``leave(_:)`` wants to have back.
  struct Ticket: BitwiseCopyable {
    fileprivate let turn: UInt64
  }

  @inline(__always)
  func enter() -> Ticket {
    while true {
      let turn = turns.load(ordering: .sequentiallyConsistent)
      count(turn, 1)
      // Otherwise the one who waits may have looked before this was counted.
      if turns.load(ordering: .sequentiallyConsistent) == turn { return Ticket(turn: turn) }
      count(turn, -1)
    }
  }

  @inline(__always)
  func leave(_ ticket: Ticket) { count(ticket.turn, -1) }

  @inline(__always)
  private func count(_ turn: UInt64, _ change: Int) {
    if turn & 1 == 0 {
      evens.add(change, ordering: .sequentiallyConsistent)
    } else {
      odds.add(change, ordering: .sequentiallyConsistent)
    }
  }

  private func isEmpty(_ turn: UInt64) -> Bool {
    turn & 1 == 0
      ? evens.load(ordering: .sequentiallyConsistent) == 0 : odds.load(ordering: .sequentiallyConsistent) == 0
  }

  /// Waits until all who entered before the call have left; false when they have not at the deadline. One caller at a time.
  func drain(until deadline: Deadline) -> Bool {
    let turn = turns.load(ordering: .sequentiallyConsistent)
    // Of a call that gave up somebody may still be in there.
    guard deadline.wait(interval: 1, until: { isEmpty(turn + 1) }) else { return false }
    turns.store(turn + 1, ordering: .sequentiallyConsistent)
    return deadline.wait(interval: 1, until: { isEmpty(turn) })
  }
}
