import CUring
import Glibc
import Posix

/// An io_uring. Used by one thread: the one that made it.
public struct Ring: ~Copyable {
  @usableFromInline let ring: UnsafeMutablePointer<io_uring>

  /// Makes a ring with room for `entries` submissions and `completions` completions (0: twice as many).
  ///
  /// With `SetupFlags.serving` on a kernel before 6.1 the ring is made with fewer flags, which costs speed only.
  /// Fails with `EPERM` where `kernel.io_uring_disabled` forbids rings.
  public init(entries: UInt32, completions: UInt32 = 0, flags: SetupFlags = []) throws(Errno) {
    let ring = UnsafeMutablePointer<io_uring>.allocate(capacity: 1)
    ring.initialize(to: io_uring())
    var wanted = flags
    while true {
      var parameters = io_uring_params()
      parameters.flags = wanted.rawValue | SetupFlags.clamp.rawValue
      if completions > 0 {
        parameters.flags |= SetupFlags.completionQueueSize.rawValue
        parameters.cq_entries = completions
      }
      let result = io_uring_queue_init_params(entries, ring, &parameters)
      if result == 0 { break }
      if result == -EINVAL, wanted.isSuperset(of: .serving) {
        wanted.subtract(.serving)
        continue
      }
      ring.deallocate()
      throw Errno(rawValue: -result)
    }
    self.ring = ring
    // Saves the lookup of the ring's own descriptor in each system call; kernels before 5.18 refuse.
    _ = io_uring_register_ring_fd(ring)
  }

  deinit {
    io_uring_queue_exit(ring)
    ring.deallocate()
  }

  /// The descriptor of the ring itself.
  public var descriptor: Int32 { ring.pointee.ring_fd }

  /// Entries that can be prepared before the next submission.
  @inlinable public var freeEntries: UInt32 { io_uring_sq_space_left(ring) }

  /// The next entry to prepare, or nil when the queue is full and wants to be submitted first.
  @inlinable public func nextEntry() -> Entry? { io_uring_get_sqe(ring).map(Entry.init) }

  /// Submits what was prepared without waiting.
  @inlinable public func submit() throws(Errno) {
    let result = io_uring_submit(ring)
    if result < 0, result != -EINTR { throw Errno(rawValue: -result) }
  }

  /// Submits what was prepared and waits for one completion. A signal ends the wait early without an error.
  @inlinable public func submitAndWait() throws(Errno) {
    let result = io_uring_submit_and_wait(ring, 1)
    if result < 0, result != -EINTR { throw Errno(rawValue: -result) }
  }

  /// Submits what was prepared and waits at most `nanoseconds` for one completion: false when none came.
  public func submitAndWait(nanoseconds: UInt64) throws(Errno) -> Bool {
    var limit = __kernel_timespec(
      tv_sec: Int64(nanoseconds / 1_000_000_000), tv_nsec: Int64(nanoseconds % 1_000_000_000))
    var completion: UnsafeMutablePointer<io_uring_cqe>?
    let result = io_uring_submit_and_wait_timeout(ring, &completion, 1, &limit, nil)
    if result < 0, result != -EINTR, result != -ETIME { throw Errno(rawValue: -result) }
    return io_uring_cq_ready(ring) > 0
  }

  /// Completions that are ready to be read.
  @inlinable public var readyCompletions: UInt32 { io_uring_cq_ready(ring) }

  /// A ready completion; `index` is below `readyCompletions`.
  @inlinable public func completion(_ index: UInt32) -> Completion {
    let entry = curing_completion(ring, index)!
    return Completion(userData: entry.pointee.user_data, result: entry.pointee.res)
  }

  /// Frees the first `count` completions for the kernel.
  @inlinable public func consume(_ count: UInt32) { io_uring_cq_advance(ring, count) }

  /// Gives the ring a table of files: entries then name a slot, and the kernel saves a lookup per operation. A slot with -1
  /// is empty until ``registerFile(_:slot:)`` fills it.
  public func registerFiles(_ files: [Int32]) throws(Errno) {
    let result = files.withUnsafeBufferPointer { io_uring_register_files(ring, $0.baseAddress, UInt32($0.count)) }
    if result < 0 { throw Errno(rawValue: -result) }
  }

  /// Puts a file into a slot of the table, in the place of what is there; -1 empties the slot. By the ring's thread.
  public func registerFile(_ file: Int32, slot: Int32) throws(Errno) {
    let result = withUnsafePointer(to: file) { io_uring_register_files_update(ring, UInt32(slot), $0, 1) }
    if result < 0 { throw Errno(rawValue: -result) }
  }

  /// Gives the ring `count` empty buffer slots that the ublk driver fills with requests' pages (5.19).
  public func registerEmptyBuffers(_ count: UInt32) throws(Errno) {
    let result = io_uring_register_buffers_sparse(ring, count)
    if result < 0 { throw Errno(rawValue: -result) }
  }
}

/// How a ring is set up: `IORING_SETUP_*`.
public struct SetupFlags: OptionSet, Sendable {
  /// The kernel's bits.
  public let rawValue: UInt32
  /// A set of the kernel's bits.
  @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// `IORING_SETUP_CQSIZE`
  static let completionQueueSize = SetupFlags(rawValue: 1 << 3)
  /// `IORING_SETUP_CLAMP`: sizes above the kernel's limits are lowered instead of refused.
  static let clamp = SetupFlags(rawValue: 1 << 4)
  /// `IORING_SETUP_COOP_TASKRUN` (5.19)
  public static let cooperativeTaskRun = SetupFlags(rawValue: 1 << 8)
  /// `IORING_SETUP_SQE128` (5.19): the 128-byte entries that ublk's control commands need.
  public static let largeEntries = SetupFlags(rawValue: 1 << 10)
  /// `IORING_SETUP_SINGLE_ISSUER` (6.0)
  public static let singleIssuer = SetupFlags(rawValue: 1 << 12)
  /// `IORING_SETUP_DEFER_TASKRUN` (6.1)
  public static let deferredTaskRun = SetupFlags(rawValue: 1 << 13)
  /// What a queue's ring wants: one thread, and no interrupts between its own system calls.
  public static let serving: SetupFlags = [.singleIssuer, .deferredTaskRun]
}

/// How an entry is treated: `IOSQE_*`.
public struct EntryFlags: OptionSet, Sendable {
  /// The kernel's bits.
  public let rawValue: UInt8
  /// A set of the kernel's bits.
  @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// `IOSQE_FIXED_FILE`: the file is a slot of the ring's table.
  public static let fixedFile = EntryFlags(rawValue: 1 << 0)
  /// `IOSQE_IO_LINK`: the next entry starts when this one succeeded in full, and is cancelled otherwise.
  public static let link = EntryFlags(rawValue: 1 << 2)
  /// `IOSQE_CQE_SKIP_SUCCESS` (5.17): no completion unless it fails.
  public static let quietSuccess = EntryFlags(rawValue: 1 << 6)
}

/// What the kernel says of an operation that ended.
public struct Completion: Sendable, BitwiseCopyable {
  /// The value that the entry carried.
  public let userData: UInt64
  /// Bytes or another non-negative result, or a negative error number.
  public let result: Int32

  /// A completion from its parts.
  @inlinable public init(userData: UInt64, result: Int32) {
    self.userData = userData
    self.result = result
  }
}
