import CUblk
import Glibc
import Posix
import Ring

/// The driver's control device: makes, starts, stops and deletes devices.
///
/// Its commands sleep, some of them on I/O that queue threads must serve: never call it from a queue thread. Each
/// call ends at the deadline. One that did not get its answer leaves the command running in the kernel and its
/// buffer allocated, because the driver may still write to it.
public struct Control: ~Copyable {
  private let file: Descriptor
  private let ring: Ring
  /// When every command has to have its answer. Several commands that make one step of the caller share it.
  public var deadline: Deadline

  /// Opens `/dev/ublk-control`.
  public init(deadline: Deadline) throws(UblkError) {
    let file = try Self.openControl()
    let ring = try Self.makeRing()
    self.file = file
    self.ring = ring
    self.deadline = deadline
  }

  private static func openControl() throws(UblkError) -> Descriptor {
    do { return try Descriptor.open("/dev/ublk-control", O_RDWR) } catch { throw .noControl(error) }
  }

  private static func makeRing() throws(UblkError) -> Ring {
    do { return try Ring(entries: 4, flags: .largeEntries) } catch { throw .noRing(error) }
  }

  /// What the driver offers. A kernel before 6.5 cannot say; it has `Features.beforeGetFeatures`.
  public func features() throws(UblkError) -> Features {
    var mask: UInt64 = 0
    do throws(UblkError) {
      try run("GET_FEATURES", UBLK_CMD_GET_FEATURES, device: nil, exchanging: &mask)
    } catch .refused {
      return .beforeGetFeatures
    }
    return Features(rawValue: mask)
  }

  /// Makes a device without a disk yet. `id` nil lets the driver choose the number. The answer holds what was
  /// really granted: fewer queues, other features.
  public func add(
    id: UInt32?, queues: Int, depth: Int, requestBytesMax: Int, features: Features
  ) throws(UblkError) -> DeviceInfo {
    var info = DeviceInfo()
    info.raw.dev_id = id ?? .max
    info.raw.nr_hw_queues = UInt16(clamping: queues)
    info.raw.queue_depth = UInt16(clamping: depth)
    info.raw.max_io_buf_bytes = UInt32(clamping: requestBytesMax)
    info.raw.flags = features.rawValue
    try run("ADD_DEV", UBLK_CMD_ADD_DEV, device: id, exchanging: &info.raw)
    return info
  }

  /// What the driver knows of a device; `ENODEV` when there is none.
  public func info(_ id: UInt32) throws(UblkError) -> DeviceInfo {
    var info = DeviceInfo()
    try run("GET_DEV_INFO", UBLK_CMD_GET_DEV_INFO, device: id, exchanging: &info.raw)
    return info
  }

  /// Says what the disk will be. Before `start`.
  public func setParameters(_ id: UInt32, _ parameters: Parameters) throws(UblkError) {
    var raw = parameters.raw
    try run("SET_PARAMS", UBLK_CMD_SET_PARAMS, device: id, exchanging: &raw)
  }

  /// Makes the disk. Waits until each tag of each queue is armed, and on kernels before 6.19 for the partition
  /// scan's reads. `pid` is the process that opened `/dev/ublkcN`.
  public func start(_ id: UInt32, pid: Int32) throws(UblkError) {
    try run("START_DEV", UBLK_CMD_START_DEV, device: id, data: UInt64(pid))
  }

  /// Gives the disk of a device that was started another size (6.16). The driver checks nothing.
  public func updateSize(_ id: UInt32, sectors: UInt64) throws(UblkError) {
    try run("UPDATE_SIZE", UBLK_CMD_UPDATE_SIZE, device: id, data: sectors)
  }

  /// Takes the disk away, open or not, and waits for its requests in flight.
  public func stop(_ id: UInt32) throws(UblkError) {
    try run("STOP_DEV", UBLK_CMD_STOP_DEV, device: id)
  }

  /// Takes the disk away if nobody has it open, else `EBUSY` (7.0).
  public func tryStop(_ id: UInt32) throws(UblkError) {
    try run("TRY_STOP_DEV", UBLK_CMD_TRY_STOP_DEV, device: id)
  }

  /// Deletes the device and waits until nobody refers to it any more: not from the process that serves it, unless
  /// it has closed `/dev/ublkcN` and unmapped the descriptors.
  public func delete(_ id: UInt32) throws(UblkError) {
    try run("DEL_DEV", UBLK_CMD_DEL_DEV, device: id)
  }

  /// The CPUs that submit to a queue: one bit per CPU, lowest first.
  public func affinity(_ id: UInt32, queue: Int) throws(UblkError) -> CPUMask {
    var mask = CPUMask()
    try run("GET_QUEUE_AFFINITY", UBLK_CMD_GET_QUEUE_AFFINITY, device: id, data: UInt64(queue), exchanging: &mask.words)
    return mask
  }

  private func run(
    _ name: String, _ operation: UInt32, device: UInt32?, data: UInt64 = 0
  ) throws(UblkError) {
    try submit(name, operation, device: device, data: data, buffer: nil, bytes: 0)
  }

  /// Runs a command with a buffer that goes in and comes back.
  private func run<Value: BitwiseCopyable>(
    _ name: String, _ operation: UInt32, device: UInt32?, data: UInt64 = 0, exchanging value: inout Value
  ) throws(UblkError) {
    let buffer = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    buffer.initialize(to: value)
    do throws(UblkError) {
      try submit(
        name, operation, device: device, data: data, buffer: UnsafeMutableRawPointer(buffer),
        bytes: MemoryLayout<Value>.size)
    } catch {
      if case .timedOut = error { throw error }
      buffer.deallocate()
      throw error
    }
    value = buffer.pointee
    buffer.deallocate()
  }

  private func submit(
    _ name: String, _ operation: UInt32, device: UInt32?, data: UInt64, buffer: UnsafeMutableRawPointer?, bytes: Int
  ) throws(UblkError) {
    var payload = ublk_ctrl_cmd()
    payload.dev_id = device ?? .max
    payload.queue_id = .max
    payload.len = UInt16(bytes)
    payload.addr = UInt64(UInt(bitPattern: buffer))
    payload.data = data
    let began = monotonicNanoseconds()
    let result: Int32
    do throws(Errno) {
      guard let entry = ring.nextEntry() else { throw .busy }
      entry.command(file: file.rawValue, isSlot: false, operation: operation, payload: payload, userData: 0)
      while !(try ring.submitAndWait(nanoseconds: deadline.remaining)) {
        if deadline.hasPassed { throw .timedOut }
      }
      result = ring.completion(0).result
      ring.consume(1)
    } catch .timedOut {
      let milliseconds = Int((monotonicNanoseconds() - began) / 1_000_000)
      throw .timedOut(command: name, device: device, milliseconds: milliseconds)
    } catch {
      throw .refused(command: name, device: device, error)
    }
    if result < 0 { throw .refused(command: name, device: device, Errno(rawValue: -result)) }
  }
}

/// A set of CPUs, as many as the driver's mask may name.
public struct CPUMask: Sendable {
  typealias Words = (
    UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64,
    UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64
  )
  var words: Words = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

  /// Whether no CPU is in it.
  public var isEmpty: Bool { withBytes { $0.allSatisfy { $0 == 0 } } }

  /// The bytes as `sched_setaffinity(2)` takes them.
  public func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
    withUnsafeBytes(of: words) { body($0) }
  }
}
