import Glibc

/// The life of a server that is killed at some instant: between two things that one of its threads does to what survives
/// it. Its threads take turns, so that a seed gives the same life again; who has the turn uses this.
final class ServerLife: @unchecked Sendable {
  private(set) var isDead = false
  private var instantsLeft: Int
  private var random: SeededRandom
  /// Threads that have not ended, and whose turn it is.
  private var running: [Int]
  private var current: Int
  private let turns: [UnsafeMutablePointer<sem_t>]

  /// Dies after so many instants.
  init(threads: Int, instants: Int, random: SeededRandom) {
    instantsLeft = instants
    self.random = random
    running = Array(0..<threads)
    current = 0
    turns = (0..<threads).map { _ in
      let turn = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
      sem_init(turn, 0, 0)
      return turn
    }
  }

  deinit {
    for turn in turns {
      sem_destroy(turn)
      turn.deallocate()
    }
  }

  /// Whether the server is alive at the next instant.
  func goesOn() -> Bool {
    if instantsLeft == 0 { isDead = true }
    instantsLeft -= 1
    return !isDead
  }

  /// What it did last was the last.
  func die() { isDead = true }

  // MARK: Turns

  /// Gives the first thread its turn.
  func begin() { sem_post(turns[current]) }

  /// Waits for the first turn of a thread.
  func waitForTurn(_ thread: Int) { while sem_wait(turns[thread]) != 0 {} }

  /// Lets another thread go on, or the same one. Returns when it is this one's turn again.
  func passTurn() {
    let (own, next) = (current, running.randomElement(using: &random)!)
    if next == own { return }
    current = next
    sem_post(turns[next])
    waitForTurn(own)
  }

  /// The thread ends.
  func end() {
    running.removeAll { $0 == current }
    guard let next = running.randomElement(using: &random) else { return }
    current = next
    sem_post(turns[next])
  }
}
