import Glibc

/// A count that threads take from and give to; who finds none waits.
final class Slots: @unchecked Sendable {
  private let semaphore: UnsafeMutablePointer<sem_t>
  private let count: Int

  init(count: Int) {
    self.count = count
    semaphore = .allocate(capacity: 1)
    sem_init(semaphore, 0, UInt32(count))
  }

  deinit {
    sem_destroy(semaphore)
    semaphore.deallocate()
  }

  func take() { while sem_wait(semaphore) != 0 {} }
  func give() { sem_post(semaphore) }
  /// Waits until all have been given back.
  func takeAll() { for _ in 0..<count { take() } }
}
