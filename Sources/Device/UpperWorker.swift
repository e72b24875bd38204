import CLinux
import Glibc
import Posix
import Synchronization
import UpperLayer

/// What may wait for a disk, and so is nothing for a queue's thread.
enum UpperWork: Sendable {
  /// All that was acknowledged becomes durable.
  case flush
  /// Sectors become zeroes. Their space is given back, unless it is to be kept.
  case zero(sector: UInt64, sectors: UInt64, keepsSpace: Bool)
  /// Sectors are written for which the layers below have to be read. Then, if it is not to stay in a cache, all that was
  /// acknowledged becomes durable.
  case write(UpperWrite, goesThroughCache: Bool)
}

/// Does a writable device's work that may wait for a disk: one thread, for all queues. All flushes that wait are one.
final class UpperWorker: @unchecked Sendable {
  private struct Job {
    let work: UpperWork
    let tag: UInt32
    let mailbox: Mailbox

    /// What the answer says of a write.
    var writtenBytes: Int32 {
      if case .write(let piece, _) = work { Int32(truncatingIfNeeded: piece.bytes.count) } else { 0 }
    }
  }

  private struct Jobs {
    var waiting: [Job] = []
    var isAsleep = false
    var isEnding = false
  }

  private let upper: Mutex<Upper>
  private let jobs = Mutex(Jobs())
  private let wake: UnsafeMutablePointer<sem_t>
  private let thread = Mutex<Posix.Thread?>(nil)

  init(_ upper: Upper) {
    self.upper = Mutex(upper)
    wake = .allocate(capacity: 1)
    sem_init(wake, 0, 0)
  }

  deinit {
    sem_destroy(wake)
    wake.deallocate()
  }

  /// Starts the thread. `name` is what `ps -L` shows.
  func start(name: String) throws(Errno) {
    let thread = try Posix.Thread(name: name) { [self] in
      // As a queue's thread: memory must not be had by writing to the disk that this thread flushes.
      _ = clinux_prctl(CLINUX_PR_SET_IO_FLUSHER, 1)
      while let batch = next() { perform(batch) }
    }
    self.thread.withLock { $0 = thread }
  }

  /// Works on another upper from now on. While nothing is to be done.
  func use(_ upper: Upper) { self.upper.withLock { $0 = upper } }

  /// Has `work` done; its end goes to `mailbox`.
  func post(_ work: UpperWork, tag: Int, to mailbox: Mailbox) {
    let job = Job(work: work, tag: UInt32(truncatingIfNeeded: tag), mailbox: mailbox)
    let wakes = jobs.withLock { jobs in
      jobs.waiting.append(job)
      defer { jobs.isAsleep = false }
      return jobs.isAsleep
    }
    if wakes { sem_post(wake) }
  }

  /// Ends the thread once nothing is left to do; false when the deadline came first.
  func stop(_ deadline: Deadline) -> Bool {
    let wakes = jobs.withLock { jobs in
      jobs.isEnding = true
      defer { jobs.isAsleep = false }
      return jobs.isAsleep
    }
    if wakes { sem_post(wake) }
    return thread.withLock { thread in
      guard let running = thread else { return true }
      if !running.join(deadline) { return false }
      thread = nil
      return true
    }
  }

  /// All that waits, once something does; nil at the end.
  private func next() -> [Job]? {
    while true {
      let (batch, isEnding) = jobs.withLock { jobs in
        let batch = jobs.waiting
        jobs.waiting.removeAll(keepingCapacity: true)
        jobs.isAsleep = batch.isEmpty && !jobs.isEnding
        return (batch, jobs.isEnding)
      }
      if !batch.isEmpty { return batch }
      if isEnding { return nil }
      while sem_wait(wake) != 0 {}
    }
  }

  private func perform(_ batch: [Job]) {
    let upper = upper.withLock { $0 }
    var flushes: [Job] = []
    for job in batch {
      switch job.work {
      case .flush: flushes.append(job)
      case .zero(let sector, let sectors, let keepsSpace):
        Self.answer(
          job,
          Self.result { () throws(Errno) in
            try upper.zero(sector: sector, sectors: sectors, keepsSpace: keepsSpace)
          })
      case .write(let piece, let goesThroughCache):
        let result = Self.result { () throws(Errno) in
          try withUnsafePointer(to: piece) { piece throws(Errno) in
            try upper.write(UnsafeBufferPointer(start: piece, count: 1))
          }
        }
        if result < 0 || !goesThroughCache {
          Self.answer(job, result < 0 ? result : job.writtenBytes)
        } else {
          flushes.append(job)
        }
      }
    }
    if flushes.isEmpty { return }
    let result = Self.result { () throws(Errno) in try upper.flush() }
    for job in flushes { Self.answer(job, result < 0 ? result : job.writtenBytes) }
  }

  private static func answer(_ job: Job, _ result: Int32) { job.mailbox.post(Event(.worked, job.tag, result: result)) }

  private static func result(_ body: () throws(Errno) -> Void) -> Int32 {
    do throws(Errno) {
      try body()
      return 0
    } catch {
      return -error.rawValue
    }
  }
}

/// A queue's way to the upper.
struct UpperPort: Sendable {
  private var upper: Upper
  let worker: UpperWorker
  let mailbox: Mailbox
  /// Whether a flush takes less time than handing it to the worker.
  private var isInMemory: Bool

  init(upper: Upper, worker: UpperWorker, mailbox: Mailbox) {
    self.upper = upper
    self.worker = worker
    self.mailbox = mailbox
    isInMemory = upper.isInMemory
  }

  /// Leads to another upper from now on.
  mutating func use(_ upper: Upper) {
    self.upper = upper
    isInMemory = upper.isInMemory
  }

  func writeNow(_ pieces: UnsafeBufferPointer<UpperWrite>) -> Int32 {
    do throws(Errno) {
      try upper.write(pieces, mayWait: false)
      return 0
    } catch {
      return -error.rawValue
    }
  }

  func flushNow() -> Int32? {
    if !isInMemory { return nil }
    do throws(Errno) {
      return try upper.flushNow() ? 0 : nil
    } catch {
      return -error.rawValue
    }
  }

  func work(_ work: UpperWork, tag: Int) { worker.post(work, tag: tag, to: mailbox) }
}
