import Device
import Glibc
import Image
import Logging
import Posix
import UpperLayer

/// What is served and how.
public struct ServerOptions: Sendable {
  /// The image.
  public var config: ImageConfig
  /// How the device is made.
  public var device: DeviceOptions
  /// Where the state files are.
  public var directory: RunDirectory
  /// Whether the disk refuses writes, also where the image has a writable layer: that is then one that is read.
  public var isReadOnly: Bool { settings.isReadOnly }
  /// How layers that are in a registry are had.
  public var remote: RemoteSettings
  /// Where a trace of all that is read goes, absolute; nil for none.
  public var recordPath: String?
  /// What is to be at hand before the device is handed over, or soon after.
  public var warm = WarmOptions()
  /// Who starts a new server when this one dies.
  public var keeper = DeviceState.Keeper.nobody
  /// Whether somebody takes the device away when its server dies before it is handed over.
  var hasStarter = false
  /// What a new server has to know.
  public var settings = ServeSettings()
  /// Whether the device goes away when the process that asked for it has ended, in whatever way.
  public var endsWithParent = false

  /// All options.
  public init(config: ImageConfig, device: DeviceOptions, directory: RunDirectory, remote: RemoteSettings) {
    self.config = config
    self.device = device
    self.directory = directory
    self.remote = remote
  }
}

/// One device, from this process's first breath to its last. Called once, by the only thread that there is.
struct Server {
  var options: ServerOptions
  let log: Logger
  let identity: ProcessIdentity
  private let mark: UInt64

  init(_ options: ServerOptions, _ log: Logger) throws(HostError) {
    self.options = options
    self.log = log
    identity = try ProcessIdentity.current()
    mark = UInt64.random(in: 1..<1 << 53)
  }

  /// A device that is taken away is not kept by the disk of its trace.
  private static var writingTime: Deadline { Deadline(milliseconds: 5000) }

  var directory: RunDirectory { options.directory }

  /// Opens the image, makes the device and serves it until a signal or the kernel ends it. `report` gets what
  /// happens on the way; if it throws, nobody wants the device any more. Whatever is thrown, nothing is left behind
  /// but what a kernel that does not answer holds on to.
  func run(_ signals: borrowing SignalQueue, report: (StartMessage) throws(HostError) -> Void)
    throws(HostError)
  {
    ServerProcess.prepare(log)
    try directory.make()
    let server = try completed(report)
    let (device, helpers) = try server.bringUp(signals, report: report)
    try server.serve(device, helpers, signals)
  }

  /// This server, with the configuration as it is once a snapshot that was begun has been completed.
  func completed(_ report: (StartMessage) throws(HostError) -> Void) throws(HostError) -> Server {
    guard let path = options.config.path, options.config.isWritable, !options.isReadOnly else { return self }
    var next = self
    let notes: [String]
    do throws(ImageError) {
      notes = try SnapshotJournal.complete(path, pendingFolder: directory.path)
      if notes.isEmpty { return self }
      let config = try ImageConfig.load(path)
      next.options.config.lowers = config.lowers
      next.options.config.upper = config.upper
    } catch { throw .image(error) }
    for note in notes {
      log.notice("\(note)")
      try report(.note(note))
    }
    return next
  }

  /// Makes the device. What it was made of is the device's alone from then on: a snapshot puts other things in its place.
  private func bringUp(
    _ signals: borrowing SignalQueue, report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) -> (Device, Helpers) {
    let image = try openImage()
    let plan = try WarmPlan.load(options.warm, image) { log.warning("\($0)") }
    let recording = try FirstRecording.wanted(options) { log.warning("\($0)") }
    let upper = try openUpper(image, report)
    ServerProcess.leaveMountTable(
      needing: ["/dev", "/proc", "/sys", directory.path] + image.pathsNeeded + paths(of: upper), log)
    // It need not wait for the device.
    let warming: Warming?
    do throws(HostError) {
      warming = try plan.map { plan throws(HostError) in
        try Warming(plan, options.warm, image, threads: options.device.queueCount, directory)
      }
    } catch {
      try? upper?.upper.close()
      throw error
    }
    let device: Device
    do throws(HostError) { device = try start(image, upper, startsRecording: recording != nil) } catch {
      warming?.stop()
      recording?.abandon()
      throw error
    }
    let watch = image.remote.map { RemoteWatch($0, path: directory.remotePath(device.id)) }
    let upperWatch = device.upper.map { _ in UpperStatus.Watch(device, path: directory.upperPath(device.id)) }
    let handOver: HandOver
    let control: ControlServer
    do throws(HostError) {
      handOver = try HandOver()
      control = try ControlServer(device, directory, try recording?.begin(device), handOver, log)
    } catch {
      try? stop(device)
      throw error
    }
    do throws(HostError) {
      try waitUntilUsable(device)
      var state = state(image, upper, device.id, device.queueCount, .serving, dataPath: device.dataPath)
      state.features = device.features
      // Until the device is handed over, whoever waits for it cleans up after a server that dies.
      state.keeper = options.hasStarter ? .starter : options.keeper
      try directory.write(state)
      watch?.report(log)
      upperWatch?.report()
      // `del` learns from it that the disk may be held open.
      warming?.report(directory.warmPath(device.id))
      if let warming { try wait(for: warming, device, signals, report) }
      if state.keeper != options.keeper {
        state.keeper = options.keeper
        try directory.write(state)
      }
      try report(.ready(device.id))
    } catch {
      warming?.stop()
      _ = control.stop(Self.writingTime)
      try? stop(device)
      throw error
    }
    log.info(
      "serving \(options.config.path ?? "an image") as \(device.path): \(device.queueCount) queues of \(device.depth)"
    )
    return (
      device,
      Helpers(control: control, handOver: handOver, watch: watch, upperWatch: upperWatch, warming: warming)
    )
  }

  /// What works beside the queues of a device.
  struct Helpers {
    let control: ControlServer
    let handOver: HandOver
    let watch: RemoteWatch?
    let upperWatch: UpperStatus.Watch?
    let warming: Warming?
  }

  /// Serves a device that is handed over, to its end or until another server takes it.
  func serve(_ device: Device, _ helpers: Helpers, _ signals: borrowing SignalQueue) throws(HostError) {
    device.image.remote?.startDownload(of: device.image)
    let reason = waitForEnd(device, signals, helpers)
    helpers.warming?.stop()
    if !helpers.control.stop(Self.writingTime) {
      log.error("what was recorded of \(device.path) is not written after 5 s: it is lost")
    }
    if reason == .wanted { leave(device) }
    // `del` stops the disk, which may be heard here long before its signal: that must not end what is written now. Of two
    // signals the second one ends the process at once.
    var hasSignal = reason == .signal
    while signals.next() != nil { hasSignal = true }
    if hasSignal { signals.release() }
    if let failure = device.failure {
      // STOP_DEV would wait for the requests that the broken queue holds, and those end only when the driver sees this
      // process go: the disk ends with it.
      let end =
        device.features.isSuperset(of: .recovery)
        ? "waits for its next server: `warmblk recover -n \(device.id)`"
        : "fails from now on: `warmblk del -n \(device.id)` removes what is left"
      throw .refused("\(failure); \(device.path) \(end)")
    }
    try stop(device)
  }

  /// What the server of a writable device still looks at: a snapshot rewrites the configuration.
  func paths(of upper: OpenUpper?) -> [String] {
    guard let upper else { return [] }
    return upper.paths + [options.config.path].compactMap(\.self)
  }

  func openImage() throws(HostError) -> Image {
    do throws(ImageError) {
      let image = try Image.open(
        config: options.config, remote: options.remote,
        upper: options.isReadOnly ? .readOnly(pendingFolder: directory.path) : .leftOut)
      for warning in image.warnings { log.warning("\(warning)") }
      return image
    } catch {
      throw .image(error)
    }
  }

  /// Opens the writable layer, before there is a device; nil when nothing is to be written. What had to be mended is said.
  func openUpper(
    _ image: Image, _ report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) -> OpenUpper? {
    if options.isReadOnly { return nil }
    let files: UpperFiles
    do throws(ImageError) {
      guard let found = try options.config.upperFiles() else { return nil }
      files = UpperFiles(data: found.data, index: found.index)
    } catch {
      throw .image(error)
    }
    let upper: Upper
    do throws(UpperError) {
      upper = try Upper.open(
        files, pendingFolder: directory.path, defaultVirtualSize: image.virtualSize,
        parentUUID: image.layers.last?.record.uuid,
        lowers: image.layers.isEmpty ? nil : image.lowerLayers(of: options.config, remote: options.remote))
    } catch {
      throw .upper(error)
    }
    for line in upper.removedLogs { log.notice("\(line)") }
    do throws(HostError) {
      for line in upper.recovery.lines {
        log.notice("\(line)")
        try report(.note(line))
      }
    } catch {
      try? upper.close()
      throw error
    }
    return OpenUpper(upper: upper, files: files)
  }

  private func start(_ image: Image, _ upper: OpenUpper?, startsRecording: Bool) throws(HostError) -> Device {
    var device = options.device
    device.startsRecording = startsRecording
    device.survivesServer = !options.endsWithParent
    // 53 bits: what tools that read JSON keep of a number.
    device.mark = mark
    var claimed: UInt32?
    var failure: HostError?
    do throws(DeviceError) {
      return try Device.start(image: image, upper: upper?.upper, options: device) { id, queues throws(Errno) in
        claimed = id
        do throws(HostError) {
          try claim(state(image, upper, id, queues, .starting, dataPath: .copy))
        } catch {
          failure = error
          throw .canceled
        }
        return try CounterPage(path: directory.countersPath(id), queues: queues)
      }
    } catch {
      if let claimed { try? directory.remove(claimed, server: identity) }
      throw failure ?? .device(error)
    }
  }

  private func claim(_ state: DeviceState) throws(HostError) {
    try directory.write(state)
    // A server in the background has been writing to a file without a number.
    _ = rename(directory.earlyLogPath(identity.pid), directory.logPath(state.id))
  }

  private func state(
    _ image: Image, _ upper: OpenUpper?, _ id: UInt32, _ queues: Int, _ phase: DeviceState.Phase, dataPath: DataPath
  ) -> DeviceState {
    DeviceState(
      id: id, phase: phase, server: identity, config: options.config.path ?? "",
      layers: image.layers.map(\.blob.path), upper: upper?.state,
      size: upper?.upper.virtualSize ?? image.virtualSize, queues: queues, depth: options.device.depth,
      dataPath: dataPath, created: Int64(time(nil)), mark: mark, program: ServerProcess.program,
      settings: options.settings)
  }

  /// The disk has its size, and udev is done with it: its links exist, and it does not hold it open any more.
  private func waitUntilUsable(_ device: Device) throws(HostError) {
    let deadline = Deadline(milliseconds: options.device.timeout * 1000)
    let disk = BlockDevice(id: device.id)
    let sectors = device.size / 512
    guard deadline.wait(interval: 1, until: { disk.sectors == sectors }) else {
      throw .refused(
        "\(device.path) has \(disk.sectors.map { "\($0)" } ?? "no") sectors in /sys/block after "
          + "\(options.device.timeout) s, expected \(sectors); is /sys mounted?")
    }
    guard BlockDevice.hasDeviceManager else { return }
    let patience = Deadline(milliseconds: 3000)
    if !patience.wait(interval: 1, until: { disk.isKnownToDeviceManager }) {
      log.warning("udev has not looked at \(device.path) within 3 s: links in /dev/disk may come later")
    }
  }

  /// Until as much is at hand as the options want, or its time is over, or nobody wants the device any more.
  private func wait(
    for warming: Warming, _ device: Device, _ signals: borrowing SignalQueue,
    _ report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) {
    guard options.warm.mode == .wait else { return }
    let deadline = options.warm.deadline.map { Deadline(milliseconds: $0) }
    var entries = Self.entries(device, signals) + [Self.entry(warming.changeDescriptor)]
    var lastSaid: UInt64 = 0
    while true {
      warming.step(device, log)
      if warming.isEnough || deadline?.hasPassed ?? false { break }
      if monotonicNanoseconds() - lastSaid > 100_000_000 {
        try report(warming.news)
        warming.report(directory.warmPath(device.id))
        lastSaid = monotonicNanoseconds()
      }
      _ = poll(&entries, UInt(entries.count), Int32(clamping: min(50, (deadline?.remaining ?? .max) / 1_000_000 + 1)))
      if let signal = signals.next() { throw .refused("signal \(signal) before \(device.path) was warm") }
      if entries[1].revents != 0 { throw .refused("\(device.path) was taken away before it was warm") }
    }
    warming.report(directory.warmPath(device.id))
    try report(.warmed(warming.summary))
  }

  private static func entry(_ descriptor: Int32) -> pollfd {
    pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  }

  /// What wakes the thread that controls a device.
  private static func entries(_ device: Device, _ signals: borrowing SignalQueue) -> [pollfd] {
    [entry(signals.rawValue), entry(device.endedDescriptor)]
  }

  /// Why a server does not serve its device any more.
  private enum End {
    /// SIGTERM or SIGINT.
    case signal
    /// A queue ended: somebody stopped the disk, or it failed.
    case stopped
    /// Another server wants the device.
    case wanted
  }

  /// Until there is a reason to serve no more.
  private func waitForEnd(_ device: Device, _ signals: borrowing SignalQueue, _ helpers: Helpers) -> End {
    var entries = Self.entries(device, signals) + [Self.entry(helpers.handOver.descriptor)]
    var failures: UInt64 = 0
    while true {
      // Queues do not log: what they counted is looked at once a second, which also bounds what a bad layer can say.
      _ = poll(&entries, 3, 1000)
      let counters = device.counters.snapshot.total
      if counters.failures != failures {
        failures = counters.failures
        log.error("\(describe(counters, device)); \(failures) failures so far")
      }
      helpers.watch?.report(log)
      helpers.upperWatch?.report()
      helpers.warming?.step(device, log)
      helpers.warming?.report(directory.warmPath(device.id))
      if let signal = signals.next() {
        log.info("signal \(signal): taking \(device.path) away")
        return .signal
      }
      if entries[1].revents != 0 {
        if device.failure == nil { log.notice("\(device.path) was taken away from outside") }
        return .stopped
      }
      if entries[2].revents != 0 { return .wanted }
    }
  }

  /// The last failure that queues counted, in words.
  private func describe(_ counters: QueueCounters, _ device: Device) -> String {
    let layer = Int(counters.lastLayer)
    let layers = device.image.layers
    let upper = device.upper?.files.data ?? "?"
    let path = layer < layers.count ? layers[layer].blob.path : device.frozen?.files.data ?? upper
    let place = "layer \(layer), \(path), at offset \(counters.lastOffset)"
    let reason = counters.lastCode == 0 ? "the file ends too early" : "\(Errno(rawValue: counters.lastCode))"
    return switch QueueCounters.Failure(rawValue: counters.lastKind) {
    case .read: "\(place): cannot be read: \(reason); see what became of the file"
    case .decode: "\(place): the compressed block there is damaged; `warmblk inspect --verify` checks all of them"
    case .copy: "the kernel refused data at byte \(counters.lastOffset) of a request: \(reason)"
    case .request: "a request that the disk does not get from a kernel that knows it, at byte \(counters.lastOffset)"
    case .fetch: "\(place): its bytes did not come: \(reason); what the registry says is above"
    case .write where Errno(rawValue: counters.lastCode).isFull:
      "byte \(counters.lastOffset) of the disk: there is no room for what is written: \(reason); the file system of \(upper) is "
        + "full: make room there, and writes go on"
    case .write: "byte \(counters.lastOffset) of the disk cannot be written to \(upper): \(reason)"
    case .flush: "what was written cannot be made durable in \(upper): \(reason); see its disk"
    case .zero: "byte \(counters.lastOffset) of the disk cannot be discarded or zeroed in \(upper): \(reason)"
    case .command: "the driver refused the answer of tag \(counters.lastOffset): \(Errno(rawValue: counters.lastCode))"
    case nil, .some(.none): "nothing is known of the failure"
    }
  }

  private func stop(_ device: Device) throws(HostError) {
    var failure: DeviceError?
    do throws(DeviceError) {
      try device.stop(Deadline(milliseconds: 10_000))
    } catch {
      failure = error
    }
    // While the node is there somebody has to delete the device, and finds it through the state file.
    if failure == nil || !BlockDevice(id: device.id).hasCharacterNode {
      try directory.remove(device.id, server: identity)
    }
    if let failure { throw .device(failure) }
  }
}
