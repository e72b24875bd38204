import Glibc
import LSMT
import Posix
import Synchronization

/// The entries of a writable layer that are not in its index file for certain yet, in memory that survives the process
/// (a mapped file on tmpfs), but not the machine. All integers are in the byte order of the host.
///
///     0     u64  magic, "WBKPEND" and the version, 1
///     8     u32  capacity, entries, a power of two
///     16    16   id of the boot
///     32    u64  device, 40 u64 inode, 48 i64 seconds, 56 u32 nanoseconds of birth: the data file
///     64    16   uuid of the layer
///     128   u64  done: entries that are in the index file, counted from the first one ever
///     192   u64  appended: counted the same way
///     256   u64  bytes of the index file where entry `done` belongs
///     264   u64  inode of the index file that this is said of; 0 while it is being said
///     272   u64  1 when a sync of the data has failed since the log was made
///     280        where the data file was: ``Origin``
///     4096  16   a ring of entries
///
/// Entries are appended, and the counts set, in an order that a killed process can be stopped in anywhere.
final class PendingLog: @unchecked Sendable {
  /// 4 MiB of entries.
  static let standardCapacity = 1 << 18
  static let headerBytes = 4096
  private static let magic: UInt64 = 0x0144_4e45_504b_4257

  /// Which data file of which boot the entries belong to.
  struct Identity: Equatable {
    var boot: [UInt8]
    var device: UInt64
    var inode: UInt64
    var birthSeconds: Int64
    var birthNanoseconds: UInt32
    var uuid: LayerUUID

    fileprivate func store(at base: UnsafeMutableRawPointer) {
      (base + 16).copyMemory(from: boot, byteCount: min(16, boot.count))
      base.storeBytes(of: device, toByteOffset: 32, as: UInt64.self)
      base.storeBytes(of: inode, toByteOffset: 40, as: UInt64.self)
      base.storeBytes(of: birthSeconds, toByteOffset: 48, as: Int64.self)
      base.storeBytes(of: birthNanoseconds, toByteOffset: 56, as: UInt32.self)
      (base + 64).copyMemory(from: uuid.bytes, byteCount: 16)
    }

    fileprivate init?(at base: UnsafeRawPointer) {
      boot = Array(UnsafeRawBufferPointer(start: base + 16, count: 16))
      device = base.load(fromByteOffset: 32, as: UInt64.self)
      inode = base.load(fromByteOffset: 40, as: UInt64.self)
      birthSeconds = base.load(fromByteOffset: 48, as: Int64.self)
      birthNanoseconds = base.load(fromByteOffset: 56, as: UInt32.self)
      guard let uuid = LayerUUID(bytes: Array(UnsafeRawBufferPointer(start: base + 64, count: 16))) else { return nil }
      self.uuid = uuid
    }

    init(boot: [UInt8], device: UInt64, inode: UInt64, birthSeconds: Int64, birthNanoseconds: UInt32, uuid: LayerUUID) {
      self.boot = boot
      self.device = device
      self.inode = inode
      self.birthSeconds = birthSeconds
      self.birthNanoseconds = birthNanoseconds
      self.uuid = uuid
    }
  }

  private let base: UnsafeMutableRawPointer
  private let entries: UnsafeMutablePointer<UInt64>
  let capacity: UInt64
  private let mapping: MemoryMapping

  static func byteCount(capacity: Int) -> Int { headerBytes + capacity * Segment.size }

  /// Uses memory of ``byteCount(capacity:)`` bytes, whose content is not looked at.
  init(_ mapping: consuming MemoryMapping, capacity: Int) {
    precondition(capacity & (capacity - 1) == 0 && mapping.count >= Self.byteCount(capacity: capacity))
    base = mapping.base
    entries = (mapping.base + Self.headerBytes).assumingMemoryBound(to: UInt64.self)
    self.capacity = UInt64(capacity)
    self.mapping = mapping
  }

  /// Makes it the empty log of a data file.
  func format(for identity: Identity) {
    base.initializeMemory(as: UInt8.self, repeating: 0, count: Self.headerBytes)
    identity.store(at: base)
    base.storeBytes(of: UInt32(capacity), toByteOffset: 8, as: UInt32.self)
    // A log that is not whole must not look like one.
    atomic(0).pointee.store(Self.magic, ordering: .releasing)
  }

  /// Whose log this is; nil when it is none, or not whole.
  var identity: Identity? {
    guard atomic(0).pointee.load(ordering: .acquiring) == Self.magic,
      base.load(fromByteOffset: 8, as: UInt32.self) == UInt32(capacity),
      appended >= done, appended - done <= capacity
    else { return nil }
    return Identity(at: base)
  }

  /// Where its data file was; nil when that is not known.
  var origin: Origin? { Origin(at: base) }

  /// Says where its data file is. A process that is killed meanwhile leaves a log without.
  func note(_ origin: Origin?) {
    form.pointee.store(0, ordering: .sequentiallyConsistent)
    guard let origin else { return }
    origin.store(at: base)
    form.pointee.store(Origin.form, ordering: .sequentiallyConsistent)
  }

  private var form: UnsafeMutablePointer<Atomic<UInt32>> { (base + 280).assumingMemoryBound(to: Atomic<UInt32>.self) }

  @inline(__always)
  private func atomic(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  // MARK: Counts

  /// Entries that are in the index file, since the log was made.
  var done: UInt64 { atomic(128).pointee.load(ordering: .acquiring) }
  /// Entries appended since the log was made.
  var appended: UInt64 { atomic(192).pointee.load(ordering: .acquiring) }
  /// Entries that are nowhere else.
  var count: UInt64 { appended &- done }
  /// Where in the index file entry ``done`` belongs; nil when a crash came between two steps of saying so.
  var indexPosition: (inode: UInt64, end: UInt64)? {
    let inode = atomic(264).pointee.load(ordering: .acquiring)
    return inode == 0 ? nil : (inode, atomic(256).pointee.load(ordering: .acquiring))
  }
  /// Whether the kernel has said of writes to the data file that they are lost.
  var hasFailedSync: Bool { atomic(272).pointee.load(ordering: .acquiring) != 0 }

  /// Says that entries up to `count` are in the index file `inode`, which goes on at byte `end`.
  ///
  /// The position comes first: entries that are in the file and in the log are applied twice, which changes nothing;
  /// an entry in the file behind a position that does not know it would look like somebody else's.
  func finish(upTo count: UInt64, indexInode inode: UInt64, indexEnd end: UInt64) {
    if atomic(264).pointee.load(ordering: .relaxed) != inode {
      atomic(264).pointee.store(0, ordering: .sequentiallyConsistent)
      atomic(256).pointee.store(end, ordering: .sequentiallyConsistent)
      atomic(264).pointee.store(inode, ordering: .sequentiallyConsistent)
    } else {
      atomic(256).pointee.store(end, ordering: .sequentiallyConsistent)
    }
    atomic(128).pointee.store(count, ordering: .sequentiallyConsistent)
  }

  func noteFailedSync() { atomic(272).pointee.store(1, ordering: .releasing) }

  func clearFailedSync() { atomic(272).pointee.store(0, ordering: .releasing) }

  // MARK: Entries

  /// Entry `number`, which must be in `done..<appended`.
  func entry(_ number: UInt64) -> Segment {
    let slot = Int(truncatingIfNeeded: number & (capacity &- 1)) &* 2
    return Segment(word0: entries[slot], word1: entries[slot &+ 1])
  }

  /// Appends an entry; there must be room for it. One writer at a time.
  @inline(__always)
  func append(_ segment: Segment) {
    let number = appended
    let slot = Int(truncatingIfNeeded: number & (capacity &- 1)) &* 2
    let (word0, word1) = segment.words
    entries[slot] = word0
    entries[slot &+ 1] = word1
    atomic(192).pointee.store(number &+ 1, ordering: .releasing)
  }

  /// Makes the last entry longer: one store, so a killed process leaves the old or the new one.
  @inline(__always)
  func extendLast(to segment: Segment) {
    let slot = Int(truncatingIfNeeded: (appended &- 1) & (capacity &- 1)) &* 2
    UnsafeMutableRawPointer(entries + slot).assumingMemoryBound(to: Atomic<UInt64>.self).pointee
      .store(segment.words.0, ordering: .releasing)
  }

  /// The bytes of entries `range` as an index file has them: two runs where the ring wraps.
  func withBytes(_ range: Range<UInt64>, _ body: (UnsafeRawBufferPointer) throws(Errno) -> Void) throws(Errno) {
    var next = range.lowerBound
    while next < range.upperBound {
      let slot = next & (capacity - 1)
      let count = min(range.upperBound - next, capacity - slot)
      try body(
        UnsafeRawBufferPointer(start: entries + Int(slot) * 2, count: Int(count) * Segment.size))
      next += count
    }
  }
}

extension Segment {
  /// The two words, in the byte order of the host.
  @inline(__always)
  var words: (UInt64, UInt64) {
    (offset | UInt64(length) &<< 50, moffset | (isZeroed ? 1 &<< 55 : 0) | UInt64(tag) &<< 56)
  }
}
