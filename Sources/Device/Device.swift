import CLinux
import Glibc
import Image
import Posix
import Synchronization
import Ublk
import UpperLayer

/// A block device that this process serves.
///
/// Its calls sleep, some of them on I/O that the queues serve: they belong to a control thread, one at a time.
public final class Device: @unchecked Sendable {
  /// The number N of `/dev/ublkbN`.
  public let id: UInt32
  /// `/dev/ublkbN`.
  public var path: String { "/dev/ublkb\(id)" }
  /// Hardware queues, as granted.
  public let queueCount: Int
  /// Requests that a queue may have in flight.
  public let depth: Int
  /// What the driver granted.
  public let features: Features
  /// How data gets into requests.
  public let dataPath: DataPath
  /// The image that is served, without its upper. A snapshot puts another one in its place, with a layer more.
  public var image: Image { stack.withLock(\.image) }
  /// The writable layer on top of the image; nil in a read-only device. A snapshot puts another one in its place.
  public var upper: Upper? { stack.withLock(\.upper) }
  /// Bytes of the disk.
  public var size: UInt64 { upper?.virtualSize ?? image.virtualSize }
  /// The numbers of its queues.
  public let counters: CounterPage
  /// Records what is read.
  public let recorder: Recorder
  /// Holds its disk open for the sake of its page cache, if it is asked to.
  public let heldDisk: HeldDisk

  /// What is served.
  struct Stack {
    var image: Image
    var upper: Upper?
    /// Between the two: what was the upper before a snapshot, until the image has it as a layer.
    var frozen: Upper?
  }

  let stack: Mutex<Stack>
  var control: Control
  /// The control thread's.
  var layers: LayerTable
  let worker: UpperWorker?
  private(set) var pausePoints: [PausePoint] = []
  /// The first slot of the queues' rings that is for uppers to come.
  let firstSpareSlot: Int32
  private var upperIsClosed = false
  /// Of the layers' files, those that are written into requests from where they are mapped.
  private let mappedFiles: [MappedFile]
  private let ended: Descriptor
  private let requestBytesMax: Int
  private var character: Descriptor?
  private(set) var threads: [QueueThread] = []

  /// What is wanted of the driver for `image`, given what it offers.
  private static func features(
    for image: Image, _ upper: Upper?, offered: Features, _ options: DeviceOptions
  ) -> Features {
    let recovery = options.survivesServer ? recoveryFeatures(offered) : []
    // What is written has to be in memory of this process, and so everything is.
    if upper != nil { return recovery }
    let helps = image.layers.contains { $0.blocks == nil && $0.blob.readMethod != .memory }
    if !options.allowsZeroCopy || !helps || !offered.contains(.userCopy) { return recovery }
    return offered.intersection([.autoBufferRegistration, .userCopy]).union(recovery)
  }

  /// The way that follows from what the driver granted.
  private static func dataPath(_ features: Features) -> DataPath {
    if features.contains(.autoBufferRegistration) { return .zeroCopy }
    return features.contains(.userCopy) ? .userCopy : .copy
  }

  /// Makes `/dev/ublkbN` for `image`, with `upper` as its writable layer, and serves it. Returns when the disk answers.
  /// The upper is the device's from now on: it is closed when the device ends, and when this fails.
  ///
  /// `makeCounters` gets the number of the device and of its queues, and makes the page for their counters. If
  /// anything fails nothing is left behind.
  public static func start(
    image: Image, upper: Upper? = nil, options: DeviceOptions,
    makeCounters: (UInt32, Int) throws(Errno) -> CounterPage
  ) throws(DeviceError) -> Device {
    let deadline = Deadline(milliseconds: options.timeout * 1000)
    let device: Device
    do throws(DeviceError) {
      try options.validate()
      let ended = try makeEvent()
      let control = try DeviceError.driver { () throws(UblkError) in try Control(deadline: deadline) }
      let info = try add(image, upper, options, control)
      let counters: CounterPage
      do throws(Errno) {
        counters = try makeCounters(info.id, info.queues)
      } catch {
        try? control.delete(info.id)
        throw .system(what: "make the counters of device \(info.id)", error)
      }
      device = Device(image, upper, info, counters, ended, control)
    } catch {
      try? upper?.close()
      throw error
    }
    do throws(DeviceError) {
      try device.bringUp(deadline, startsRecording: options.startsRecording)
    } catch {
      try? device.stop(Deadline(milliseconds: options.timeout * 1000))
      throw error
    }
    return device
  }

  /// ADD_DEV, and a look at its answer.
  private static func add(
    _ image: Image, _ upper: Upper?, _ options: DeviceOptions, _ control: borrowing Control
  ) throws(DeviceError) -> DeviceInfo {
    do throws(UblkError) {
      let wanted = features(for: image, upper, offered: try control.features(), options)
      let info = try control.add(
        id: options.id, queues: options.queueCount, depth: options.depth,
        requestBytesMax: DeviceOptions.requestBytesMax, features: wanted, mark: options.mark)
      if !info.features.isSuperset(of: wanted) {
        try control.delete(info.id)
        throw .featuresMissing(wanted.subtracting(info.features))
      }
      return info
    } catch {
      throw .ublk(error)
    }
  }

  /// What wakes the thread that controls the device.
  static func makeEvent() throws(DeviceError) -> Descriptor {
    try DeviceError.describing("make an event descriptor") { () throws(Errno) in
      Descriptor(owning: try retryingInterrupts { clinux_eventfd() })
    }
  }

  /// A device that the driver has, as it describes it, without threads so far.
  init(
    _ image: Image, _ upper: Upper?, _ info: DeviceInfo, _ counters: CounterPage, _ ended: consuming Descriptor,
    _ control: consuming Control
  ) {
    self.counters = counters
    requestBytesMax = info.requestBytesMax
    id = info.id
    queueCount = info.queues
    depth = info.depth
    features = info.features
    let dataPath = Self.dataPath(info.features)
    self.dataPath = dataPath
    stack = Mutex(Stack(image: image, upper: upper))
    worker = upper.map(UpperWorker.init)
    heldDisk = HeldDisk(path: "/dev/ublkb\(info.id)", program: "/proc/self/exe")
    recorder = Recorder(queues: info.queues, deviceBytes: upper?.virtualSize ?? image.virtualSize)
    self.ended = ended
    self.control = control
    let mapped = image.layers.map { layer in dataPath.isUserCopy ? Self.map(layer) : nil }
    mappedFiles = mapped.compactMap(\.self)
    layers = LayerTable(of: image, upper: upper, mapped: mapped.map { $0?.bytes })
    firstSpareSlot = layers.nextSlot
  }

  /// A layer's file for copies out of the page cache. One that cannot be mapped is read into buffers, and so is one with
  /// holes, of a registry.
  private static func map(_ layer: Layer) -> MappedFile? {
    if layer.blocks != nil || layer.blob.readMethod == .memory || layer.blob.remote != nil { return nil }
    return try? MappedFile(layer.blob.fd, count: Int(clamping: layer.blob.fileSize))
  }

  /// SET_PARAMS, queue threads, START_DEV.
  private func bringUp(_ deadline: Deadline, startsRecording: Bool) throws(DeviceError) {
    let sectors = size / 512
    guard sectors > 0 else { throw .invalidOption("the image has no size: no layer says how large the disk is") }
    try DeviceError.driver { () throws(UblkError) in
      try control.setParameters(
        id,
        Parameters(
          sectors: sectors, writing: upper == nil ? nil : Self.writing, logicalBlockShift: 9, physicalBlockShift: 12,
          optimalIOShift: 17, requestBytesMax: DeviceOptions.requestBytesMax))
    }
    try startQueues(deadline)
    // Before the disk is there: the kernel reads the partition table, and keeps what it has read.
    if startsRecording {
      try DeviceError.describing("take memory for a recording") { () throws(Errno) in try recorder.start() }
    }
    try DeviceError.driver { () throws(UblkError) in try control.start(id, pid: getpid()) }
    guard deadline.wait(until: { fileExists(path) }) else {
      throw .timedOut(what: "\(path) did not appear; is /dev a devtmpfs, or does udev run?")
    }
  }

  /// Opens `/dev/ublkcN` and starts the queues' threads; returns when each is about to arm its tags.
  func startQueues(_ deadline: Deadline) throws(DeviceError) {
    let character = try openCharacter(deadline)
    let slot = character.rawValue
    self.character = consume character
    let source = source(layers)
    try DeviceError.describing("start a thread for the upper") { () throws(Errno) in
      try worker?.start(name: "ublk\(id)-upper")
    }
    for queue in 0..<queueCount {
      let (mailbox, port, upperPort) = try ports()
      let pausePoint = upper == nil ? nil : mailbox.map(PausePoint.init)
      if let pausePoint { pausePoints.append(pausePoint) }
      let affinity = try DeviceError.driver { () throws(UblkError) in try control.affinity(id, queue: queue) }
      threads.append(
        try QueueThread(
          QueueThread.Plan(
            device: id, number: queue, depth: depth, requestBytesMax: requestBytesMax,
            character: slot, affinity: affinity, files: layers.descriptors,
            spareSlots: upper == nil ? 0 : LayerTable.spareSlots, source: source,
            counters: counters.counters(queue), latencies: counters.latencies(queue),
            recorder: recorder.slot(queue), mailbox: mailbox, port: port, upper: upperPort, pausePoint: pausePoint,
            ended: ended.rawValue)))
    }
    for thread in threads { try thread.waitUntilServing(deadline) }
  }

  /// What the queues read from, with `layers` as their table.
  func source(_ layers: borrowing LayerTable) -> QueueSource {
    let stack = stack.withLock { $0 }
    return QueueSource(
      map: stack.image.map.view, upper: stack.upper?.index.view, upperLayer: UInt8(layers.count - 1),
      frozen: stack.frozen?.index.view, layers: layers.base, deviceSectors: size / 512, dataPath: dataPath)
  }

  private static let writing = Parameters.Writing(
    discardGranularity: 4096, discardSectorsMax: UInt32(DeviceOptions.zeroBytesMax / 512),
    writeZeroesSectorsMax: UInt32(DeviceOptions.zeroBytesMax / 512))

  /// What a queue needs of other threads, if it does.
  private func ports() throws(DeviceError) -> (Mailbox?, FetchPort?, UpperPort?) {
    if image.remote == nil && upper == nil { return (nil, nil, nil) }
    let mailbox = try DeviceError.describing("make an event descriptor") { () throws(Errno) in try Mailbox() }
    let port = image.remote.map { remote in
      FetchPort(
        sources: image.layers.map(\.blob.remote), ioTimeout: remote.settings.ioTimeout,
        waitsForever: remote.settings.waitsForever, mailbox: mailbox)
    }
    var upperPort: UpperPort?
    if let upper, let worker { upperPort = UpperPort(upper: upper, worker: worker, mailbox: mailbox) }
    return (mailbox, port, upperPort)
  }

  /// Opens `/dev/ublkcN`. A device manager may make the node late, and may hold it open for a moment.
  private func openCharacter(_ deadline: Deadline) throws(DeviceError) -> Descriptor {
    let path = "/dev/ublkc\(id)"
    while true {
      do throws(Errno) {
        return try Descriptor.open(path, O_RDWR)
      } catch {
        let isPassing = error == .noEntry || error == .access || error == .busy
        if !isPassing || deadline.hasPassed { throw .system(what: "open \(path)", error) }
        usleep(1000)
      }
    }
  }

  // MARK: The end

  /// A descriptor that poll(2) finds readable once a queue has ended: somebody stopped the device, or it failed.
  public var endedDescriptor: Int32 { ended.rawValue }

  /// Why queues ended, if that was an error.
  public var failure: DeviceError? { threads.lazy.compactMap(\.error).first }

  /// Takes the disk away, waits for the queues and deletes the device. Open and mounted devices vanish under their
  /// users. Past the deadline, which all steps share, it throws, and the kernel ends the device with the process: a
  /// disk that is still mounted keeps DEL_DEV waiting for its last user.
  public func stop(_ deadline: Deadline) throws(DeviceError) {
    // The kernel waits for requests that wait for a registry.
    image.remote?.store.stop()
    // A server that has the disk open itself would be its last user. If a read does not end, STOP_DEV ends it.
    _ = heldDisk.release(Deadline(milliseconds: 1000))
    control.deadline = deadline
    var firstError: DeviceError?
    do throws(UblkError) { try control.stop(id) } catch { if error.errno != .noDevice { firstError = .ublk(error) } }
    for thread in threads where !thread.join(deadline) {
      throw firstError ?? .timedOut(what: "a queue of device \(id) did not end")
    }
    threads = []
    do throws(DeviceError) { try closeUpper(deadline) } catch { firstError = firstError ?? error }
    character = nil
    // Storing what was written may have taken all the time; the driver is quick.
    if deadline.hasPassed { control.deadline = Deadline(milliseconds: 2000) }
    do throws(UblkError) { try control.delete(id) } catch {
      if error.errno != .noDevice { throw firstError ?? .ublk(error) }
    }
    if let firstError { throw firstError }
  }

  /// Makes durable what was written. Once the queues have ended.
  private func closeUpper(_ deadline: Deadline) throws(DeviceError) {
    guard let upper, let worker, !upperIsClosed else { return }
    // All of it is durable; what is to be done with it is in the snapshot's journal.
    try? stack.withLock(\.frozen)?.close()
    guard worker.stop(deadline) else {
      throw .timedOut(what: "the upper's disk does not answer; nothing is lost while the machine runs")
    }
    upperIsClosed = true
    try DeviceError.describing(
      "make durable what was written to device \(id); nothing is lost while the machine runs: add the image again"
    ) { () throws(Errno) in try upper.close() }
  }
}
