import Device
import Glibc
import Image
import Logging
import Posix
import Ublk

/// A server that goes on with a device whose last one is gone.
extension Server {
  /// Milliseconds for a server to answer what it has under way before another one takes its device over.
  private static let leaveMilliseconds = 500

  /// Takes the device of `state` over and serves it, as `run` does. `lock` is held until the record names this process.
  ///
  /// A server that lives is asked to leave, once the image is known to be the same. Whatever is thrown, the device is as it
  /// was before once this process has ended, or waits for the next server.
  func takeOver(
    _ state: DeviceState, _ lock: DeviceLock, _ signals: borrowing SignalQueue,
    report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) {
    ServerProcess.prepare(log)
    let isAlive = state.server.isAlive
    // What may be open only once is with the server that lives.
    let isWritable = options.config.isWritable && !options.isReadOnly
    if isAlive, isWritable { try askToLeave(state) }
    let server = try completed(report)
    let (device, helpers) = try server.goOn(state, lock, isHandedOver: isAlive, report: report)
    try server.serve(device, helpers, signals)
  }

  private func goOn(
    _ state: DeviceState, _ lock: DeviceLock, isHandedOver isAlive: Bool,
    report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) -> (Device, Helpers) {
    let isWritable = options.config.isWritable && !options.isReadOnly
    let (opened, upper) = try openSame(state, report)
    if isAlive, !isWritable { try askToLeave(state) }
    ServerProcess.leaveMountTable(
      needing: ["/dev", "/proc", "/sys", directory.path] + opened.pathsNeeded + paths(of: upper), log)
    let counters = try HostError.describing("open \(directory.countersPath(state.id))") { () throws(Errno) in
      try CounterPage(continuing: directory.countersPath(state.id), queues: state.queues)
    }
    let device: Device
    do throws(DeviceError) {
      device = try Device.recover(
        state.id, image: opened, upper: upper?.upper, shape: state.shape, timeout: options.device.timeout,
        counters: counters)
    } catch {
      throw .device(error)
    }
    // The disk answers from here on. What the last server said of a prefetch is over.
    _ = unlink(directory.warmPath(state.id))
    let watch = opened.remote.map { RemoteWatch($0, path: directory.remotePath(device.id)) }
    let upperWatch = device.upper.map { _ in UpperStatus.Watch(device, path: directory.upperPath(device.id)) }
    let handOver = try HandOver()
    let control = try ControlServer(device, directory, nil, handOver, log)
    try directory.write(successor(of: state, device, upper))
    lock.release()
    watch?.report(log)
    upperWatch?.report()
    try report(.ready(device.id))
    log.info(
      "goes on with \(device.path), \(isAlive ? "handed over by" : "after the death of") pid \(state.server.pid)")
    return (
      device, Helpers(control: control, handOver: handOver, watch: watch, upperWatch: upperWatch, warming: nil)
    )
  }

  /// The image and its upper, which must be those that the device was made of, as far as their size tells.
  private func openSame(
    _ state: DeviceState, _ report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) -> (Image, OpenUpper?) {
    let image = try openImage()
    let upper = try openUpper(image, report)
    let size = upper?.upper.virtualSize ?? image.virtualSize
    if size == state.size { return (image, upper) }
    throw .refused(
      "\(state.config) is a disk of \(size) bytes now, and \(state.device) has \(state.size): it cannot be served with "
        + "that; put the configuration back, or take the device away with `warmblk del -n \(state.id)`")
  }

  private func successor(of state: DeviceState, _ device: Device, _ upper: OpenUpper?) -> DeviceState {
    var next = state
    next.server = identity
    next.program = ServerProcess.program
    next.upper = upper?.state
    next.layers = device.image.layers.map(\.blob.path)
    next.keeper = options.keeper
    next.settings = options.settings
    next.recoveries += 1
    return next
  }

  /// Has the live server answer what it has and end; one that does not is killed, and what it had is sent to us.
  private func askToLeave(_ state: DeviceState) throws(HostError) {
    let client = ControlClient(id: state.id, directory: directory)
    _ = try client.ask(.handOver, Deadline(milliseconds: 5000))
    if state.server.waitForEnd(Deadline(milliseconds: Self.leaveMilliseconds + 6000)) { return }
    log.warning("pid \(state.server.pid) does not leave \(state.device): killing it")
    try state.server.signal(SIGKILL)
    if !state.server.waitForEnd(Deadline(milliseconds: 10_000)) {
      throw .refused(
        "the server of device \(state.id), pid \(state.server.pid), does not end even when killed; see `dmesg`")
    }
  }

  /// Leaves the disk to the server that asked for it. The record stays: it names this process, which is gone then.
  func leave(_ device: Device) {
    if device.leave(Deadline(milliseconds: Self.leaveMilliseconds)) {
      log.info("\(device.path) is handed over, with nothing under way")
      return
    }
    log.info("\(device.path) is handed over; what is under way is sent to the next server")
    // Queues still use what would be released on the way out.
    _exit(0)
  }
}

extension ServerOptions {
  /// What a new server of the device that `state` records is given. `timeout`: seconds.
  init(restoring state: DeviceState, _ directory: RunDirectory, timeout: Int) throws(HostError) {
    let config: ImageConfig
    do throws(ImageError) { config = try ImageConfig.load(state.config) } catch { throw .image(error) }
    self.init(
      config: config,
      device: DeviceOptions(id: state.id, queues: state.queues, depth: state.depth, timeout: timeout),
      directory: directory, remote: try state.settings.remote.settings())
    settings = state.settings
    keeper = state.keeper
  }
}

extension ImageConfig {
  /// Whether it has a layer that one server at a time may have open.
  var isWritable: Bool { upper.data != nil || upper.index != nil }
}
