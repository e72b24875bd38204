import Glibc
import Ublk

/// How a device is made.
public struct DeviceOptions: Sendable {
  /// The number N of `/dev/ublkbN`; nil lets the driver choose.
  public var id: UInt32?
  /// Hardware queues, each served by a thread; nil is one per CPU, four at the most.
  public var queues: Int?
  /// Requests that a queue may have in flight: 1 to 4096.
  public var depth: Int
  /// Whether uncompressed layers are read straight into requests where the kernel offers it.
  public var allowsZeroCopy: Bool
  /// Seconds that making the device may take.
  public var timeout: Int
  /// Whether all that is ever read is recorded, by the kernel itself too. The owner stops it.
  public var startsRecording = false

  /// All options.
  public init(
    id: UInt32? = nil, queues: Int? = nil, depth: Int = 128, allowsZeroCopy: Bool = true, timeout: Int = 30
  ) {
    self.id = id
    self.queues = queues
    self.depth = depth
    self.allowsZeroCopy = allowsZeroCopy
    self.timeout = timeout
  }

  /// Bytes of the largest request.
  static let requestBytesMax = 512 << 10

  /// Bytes of the largest DISCARD and WRITE_ZEROES.
  static let zeroBytesMax = 1 << 30

  /// The queues to ask for.
  public var queueCount: Int { queues ?? min(4, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

  func validate() throws(DeviceError) {
    guard (1...UblkLimit.queueDepthMax).contains(depth) else {
      throw .invalidOption("a depth of \(depth) is not possible: 1 to \(UblkLimit.queueDepthMax)")
    }
    guard (1...UblkLimit.queuesMax).contains(queueCount) else {
      throw .invalidOption("\(queueCount) queues are not possible: 1 to \(UblkLimit.queuesMax)")
    }
    if let id, id >= 1 << 20 {
      throw .invalidOption("device number \(id) is not possible: 0 to \(1 << 20 - 1)")
    }
  }
}
