import CUring
import Glibc

/// A submission that is being prepared: it starts when the ring is submitted next.
public struct Entry {
  @usableFromInline let raw: UnsafeMutablePointer<io_uring_sqe>

  @inlinable init(_ raw: UnsafeMutablePointer<io_uring_sqe>) { self.raw = raw }

  /// Reads `count` bytes at `offset` of the file in table slot `slot` into memory.
  @inlinable public func read(
    slot: Int32, offset: UInt64, into memory: UnsafeMutableRawPointer, count: UInt32, userData: UInt64,
    flags: EntryFlags = []
  ) {
    io_uring_prep_read(raw, slot, memory, count, offset)
    finish(userData, flags.union(.fixedFile))
  }

  /// Reads `count` bytes at `offset` of the file in table slot `slot` into registered buffer `buffer`, from byte
  /// `position` of it.
  @inlinable public func readFixed(
    slot: Int32, offset: UInt64, buffer: Int32, position: UInt64, count: UInt32, userData: UInt64,
    flags: EntryFlags = []
  ) {
    io_uring_prep_read_fixed(raw, slot, UnsafeMutableRawPointer(bitPattern: UInt(position)), count, offset, buffer)
    finish(userData, flags.union(.fixedFile))
  }

  /// A driver's own command (`IORING_OP_URING_CMD`) with up to 16 bytes of payload, or 80 in a ring of large
  /// entries. `address` goes into the entry's `addr` field. With `isSlot`, `file` is a slot of the table.
  @inlinable public func command<Payload: BitwiseCopyable>(
    file: Int32, isSlot: Bool, operation: UInt32, payload: Payload, address: UInt64 = 0, userData: UInt64
  ) {
    withUnsafePointer(to: payload) {
      curing_prep_command(raw, file, isSlot ? 1 : 0, operation, $0, UInt32(MemoryLayout<Payload>.size))
    }
    curing_set_addr(raw, address)
    raw.pointee.user_data = userData
  }

  /// Completes with `-ETIME` after `interval`, which must live until the submission.
  @inlinable public func timeout(_ interval: borrowing TimerInterval, userData: UInt64) {
    io_uring_prep_timeout(raw, interval.limit, 0, 0)
    raw.pointee.user_data = userData
  }

  /// Completes once `file`, a descriptor, is readable.
  @inlinable public func poll(_ file: Int32, userData: UInt64) {
    io_uring_prep_poll_add(raw, file, UInt32(POLLIN))
    raw.pointee.user_data = userData
  }

  @inlinable func finish(_ userData: UInt64, _ flags: EntryFlags) {
    raw.pointee.user_data = userData
    raw.pointee.flags = flags.rawValue
  }
}

/// A length of time where the kernel can read it.
public struct TimerInterval: ~Copyable {
  @usableFromInline let limit: UnsafeMutablePointer<__kernel_timespec>

  /// `seconds` of time.
  public init(seconds: Int) {
    limit = .allocate(capacity: 1)
    limit.initialize(to: __kernel_timespec(tv_sec: Int64(seconds), tv_nsec: 0))
  }

  deinit { limit.deallocate() }
}

/// An entry that belongs to no ring, so that what is prepared in it never starts.
public struct SpareEntry: ~Copyable {
  @usableFromInline let raw: UnsafeMutablePointer<io_uring_sqe>

  /// Room for one entry, a large one too.
  public init() {
    raw = .allocate(capacity: 2)
    raw.initialize(repeating: io_uring_sqe(), count: 2)
  }

  deinit { raw.deallocate() }

  /// The entry, valid as long as this object.
  @inlinable public var entry: Entry { Entry(raw) }
}
