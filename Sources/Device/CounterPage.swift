import Glibc
import Posix

/// The counters of a device in a small file that the server maps: programs read them without asking the server, also
/// when it is stuck or gone.
///
///     0   u64  magic, "WBLKCNT" and the version, 1
///     8   u32  queues
///     12  u32  bytes per queue, 64
///     64  one `QueueCounters` per queue
public final class CounterPage: @unchecked Sendable {
  private static let magic: UInt64 = 0x0154_4e43_4b4c_4257
  private static let headerBytes = 64
  private static let stride = 64

  private let memory: MemoryMapping
  /// Queues that have counters.
  public let queues: Int

  /// Makes the file, or starts it anew, for `queues` queues.
  public init(path: String, queues: Int) throws(Errno) {
    precondition(MemoryLayout<QueueCounters>.stride == Self.stride)
    let bytes = Self.headerBytes + queues * Self.stride
    let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_TRUNC)
    try file.truncate(to: UInt64(bytes))
    memory = try MemoryMapping(
      count: bytes, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED, file: file.rawValue, offset: 0)
    self.queues = queues
    memory.base.storeBytes(of: UInt32(queues), toByteOffset: 8, as: UInt32.self)
    memory.base.storeBytes(of: UInt32(Self.stride), toByteOffset: 12, as: UInt32.self)
    memory.base.storeBytes(of: Self.magic, as: UInt64.self)
  }

  /// The counters of a queue, for its thread.
  func counters(_ queue: Int) -> UnsafeMutablePointer<QueueCounters> {
    (memory.base + Self.headerBytes + queue * Self.stride).assumingMemoryBound(to: QueueCounters.self)
  }

  /// All queues' counters now.
  public var snapshot: [QueueCounters] { (0..<queues).map { counters($0).pointee } }

  /// Reads the counters of a device from its file; `EBADMSG` when it is not such a file.
  public static func read(_ path: String) throws(Errno) -> [QueueCounters] {
    let bytes = try readFile(path, limit: 1 << 20)
    let counters: [QueueCounters]? = bytes.withUnsafeBytes { buffer in
      guard buffer.count >= headerBytes, buffer.loadUnaligned(as: UInt64.self) == magic,
        buffer.loadUnaligned(fromByteOffset: 12, as: UInt32.self) == UInt32(stride)
      else { return nil }
      let queues = Int(buffer.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
      guard queues <= (buffer.count - headerBytes) / stride else { return nil }
      return (0..<queues).map {
        buffer.loadUnaligned(fromByteOffset: headerBytes + $0 * stride, as: QueueCounters.self)
      }
    }
    guard let counters else { throw Errno(rawValue: EBADMSG) }
    return counters
  }
}

extension [QueueCounters] {
  /// All queues together; the last failure is one of theirs.
  public var total: QueueCounters {
    var sum = QueueCounters()
    for queue in self {
      if queue.failures > 0 {
        sum.lastKind = queue.lastKind
        sum.lastLayer = queue.lastLayer
        sum.lastOffset = queue.lastOffset
        sum.lastCode = queue.lastCode
      }
      sum.requests &+= queue.requests
      sum.bytes &+= queue.bytes
      sum.errors &+= queue.errors
      sum.failures &+= queue.failures
    }
    return sum
  }
}
