import CUblk
import Glibc
import Posix
import Ring

/// The kernel's limits that this version relies on.
public enum UblkLimit {
  /// Requests that a queue may have in flight (`UBLK_MAX_QUEUE_DEPTH`).
  public static let queueDepthMax = Int(UBLK_MAX_DEPTH)
  /// Hardware queues of a device (`UBLK_MAX_NR_QUEUES`); the driver lowers it to the number of possible CPUs.
  public static let queuesMax = 4096
}

/// One request as the driver hands it over (`struct ublksrv_io_desc`).
public struct Request: Sendable, BitwiseCopyable {
  /// What is asked for.
  public enum Operation: UInt8, Sendable {
    case read = 0
    case write = 1
    case flush = 2
    case discard = 3
    case writeSame = 4
    case writeZeroes = 5
  }

  /// Bits 8 to 31 of the descriptor's first word, where they are there (`UBLK_IO_F_*`).
  public struct Flags: OptionSet, Sendable, BitwiseCopyable {
    /// The driver's bits.
    public let rawValue: UInt32
    /// A set of the driver's bits.
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

    /// `UBLK_IO_F_FUA`: what is written is on stable media before the answer.
    public static let throughCache = Flags(rawValue: 1 << 13)
    /// `UBLK_IO_F_NOUNMAP`: WRITE_ZEROES keeps the space of what it overwrites.
    public static let keepsSpace = Flags(rawValue: 1 << 15)
  }

  /// The operation's number: bits 0 to 7 of the descriptor's first word.
  public let operationNumber: UInt8
  /// How it is asked for.
  public let flags: Flags
  /// Sectors of 512 bytes.
  public let sectors: UInt32
  /// The first sector.
  public let startSector: UInt64

  /// All fields.
  @inlinable public init(operationNumber: UInt8, flags: Flags = [], sectors: UInt32, startSector: UInt64) {
    self.operationNumber = operationNumber
    self.flags = flags
    self.sectors = sectors
    self.startSector = startSector
  }

  /// Whether it is a plain read.
  @inlinable public var isRead: Bool { operationNumber == Operation.read.rawValue }
}

/// The descriptors of one queue, mapped from `/dev/ublkcN`.
public struct RequestTable: ~Copyable, @unchecked Sendable {
  private let mapping: MemoryMapping
  @usableFromInline let base: UnsafePointer<ublk_io_desc>

  /// Maps the descriptors of `queue`, `depth` of them.
  public init(character: Int32, queue: Int, depth: Int) throws(Errno) {
    func pages(_ bytes: Int) -> Int { (bytes + pageSize - 1) / pageSize * pageSize }
    let stride = MemoryLayout<ublk_io_desc>.stride
    mapping = try MemoryMapping(
      count: pages(depth * stride), protection: PROT_READ, flags: MAP_SHARED | MAP_POPULATE,
      file: character, offset: queue * pages(UblkLimit.queueDepthMax * stride))
    base = UnsafePointer(mapping.base.assumingMemoryBound(to: ublk_io_desc.self))
  }

  /// The request of a tag: valid from its arrival until its commit is submitted.
  @inlinable public subscript(tag: Int) -> Request {
    let descriptor = base + tag
    return Request(
      operationNumber: UInt8(truncatingIfNeeded: descriptor.pointee.op_flags),
      flags: Request.Flags(rawValue: descriptor.pointee.op_flags & ~0xff),
      sectors: descriptor.pointee.nr_sectors, startSector: descriptor.pointee.start_sector)
  }
}

/// The per-tag commands of a queue: prepared here, submitted by the ring.
public struct QueueCommands: Sendable {
  @usableFromInline let queue: UInt16
  @usableFromInline let slot: Int32

  /// Commands of queue number `queue`, whose `/dev/ublkcN` is `slot` of the ring's file table.
  public init(queue: Int, slot: Int32) {
    self.queue = UInt16(truncatingIfNeeded: queue)
    self.slot = slot
  }

  /// Arms a tag for its first request (`FETCH_REQ`). `address` and `registration` as in `commit`.
  @inlinable public func fetch(
    _ entry: Entry, tag: Int, address: UInt64, registration: UInt64, userData: UInt64
  ) {
    prepare(entry, UInt32(UBLK_IO_FETCH_REQ), tag, 0, address, registration, userData)
  }

  /// Answers a request and arms the tag for its next one (`COMMIT_AND_FETCH_REQ`). `result` is the bytes served or
  /// a negative error number, `address` the buffer of the next request in copy mode and else 0, `registration` the
  /// buffer slot that the driver fills for the next request with `AUTO_BUF_REG` and else 0.
  @inlinable public func commit(
    _ entry: Entry, tag: Int, result: Int32, address: UInt64, registration: UInt64, userData: UInt64
  ) {
    prepare(entry, UInt32(UBLK_IO_COMMIT_AND_FETCH_REQ), tag, result, address, registration, userData)
  }

  @inlinable func prepare(
    _ entry: Entry, _ operation: UInt32, _ tag: Int, _ result: Int32, _ address: UInt64, _ registration: UInt64,
    _ userData: UInt64
  ) {
    entry.command(
      file: slot, isSlot: true, operation: operation,
      payload: ublk_io_cmd(q_id: queue, tag: UInt16(truncatingIfNeeded: tag), result: result, addr: address),
      address: registration, userData: userData)
  }

  /// Where the data of a tag's request begins in `/dev/ublkcN`, for user copy; in bytes.
  @inlinable public func userCopyPosition(tag: Int) -> UInt64 {
    UInt64(UBLK_USER_COPY_BASE) + UInt64(queue) << UInt64(UBLK_USER_COPY_QUEUE_SHIFT)
      + UInt64(tag) << UInt64(UBLK_USER_COPY_TAG_SHIFT)
  }
}
