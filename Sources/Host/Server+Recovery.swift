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
    // What cannot be opened now could not be without the last server.
    let opened = try openImage()
    if state.upper == nil { try refuseOtherSize(state, opened.virtualSize) }
    if isAlive { try askToLeave(state) }
    let server = try completed(report)
    // A snapshot that the last server had begun has made another image of it.
    let image = server.options.config == options.config ? opened : try server.openImage()
    let (device, helpers) = try server.goOn(state, image, lock, isHandedOver: isAlive, report: report)
    try server.serve(device, helpers, signals)
  }

  private func goOn(
    _ state: DeviceState, _ opened: Image, _ lock: DeviceLock, isHandedOver isAlive: Bool,
    report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) -> (Device, Helpers) {
    // What may be open only once was with the last server.
    let upper = try openUpperOfDead(opened)
    if (state.upper != nil) != (upper != nil) {
      throw .refused(
        "\(state.device) was made \(state.upper == nil ? "read-only" : "with a writable layer"), and \(state.config) is not that "
          + "now: put the configuration back, or take the device away with `warmblk del -n \(state.id)`")
    }
    if let upper { try refuseOtherSize(state, upper.upper.virtualSize, mayHaveGrown: true) }
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
    // The disk answers from here on. What the last server said of a prefetch is over; before the disk is held `del` must
    // know that it may be.
    let warmth = WarmStatus.read(directory.warmPath(state.id))?.afterHandOver
    if let warmth { warmth.write(directory.warmPath(state.id)) } else { _ = unlink(directory.warmPath(state.id)) }
    let watch = opened.remote.map { RemoteWatch($0, path: directory.remotePath(device.id)) }
    let upperWatch = device.upper.map { _ in UpperStatus.Watch(device, path: directory.upperPath(device.id)) }
    let handOver = try HandOver()
    let control = try ControlServer(device, directory, nil, handOver, log)
    try directory.write(successor(of: state, device, upper))
    lock.release()
    watch?.report(log)
    upperWatch?.report()
    if warmth != nil { holdAgain(device) }
    try report(.ready(device.id))
    log.info(
      "goes on with \(device.path), \(isAlive ? "handed over by" : "after the death of") pid \(state.server.pid)")
    return (
      device, Helpers(control: control, handOver: handOver, watch: watch, upperWatch: upperWatch, warming: nil)
    )
  }

  /// Holds the disk open as the last server did, so that its page cache stays when its users close it.
  private func holdAgain(_ device: Device) {
    do throws(Errno) {
      try device.heldDisk.hold()
      // An opening of a disk that answers takes no time.
      _ = Deadline(milliseconds: 1000).wait(interval: 1) { device.heldDisk.progress.isOver }
      if let error = device.heldDisk.progress.lastError { throw error }
    } catch {
      log.warning("\(device.path) is not held open for its page cache any more: \(error)")
      _ = unlink(directory.warmPath(device.id))
    }
  }

  /// The writable layer. A server that is gone for those who look at processes may have it open for a moment still.
  private func openUpperOfDead(_ image: Image) throws(HostError) -> OpenUpper? {
    let deadline = Deadline(milliseconds: options.device.timeout * 1000)
    while true {
      do throws(HostError) {
        // What was mended is for the log: that a killed server has left something is as it should be.
        return try openUpper(image) { _ in }
      } catch {
        guard case .upper(.inUse) = error, !deadline.hasPassed else { throw error }
      }
      usleep(500)
    }
  }

  /// The image must be the one that the device was made of, as far as its size tells. A server that died while its disk grew
  /// has made the upper larger before the kernel heard of it.
  private func refuseOtherSize(_ state: DeviceState, _ bytes: UInt64, mayHaveGrown: Bool = false) throws(HostError) {
    if bytes == state.size || mayHaveGrown && bytes > state.size { return }
    throw .refused(
      "\(state.config) is a disk of \(bytes) bytes now, and \(state.device) has \(state.size): it cannot be "
        + "served with that; put the configuration back, or take the device away with `warmblk del -n \(state.id)`")
  }

  private func successor(of state: DeviceState, _ device: Device, _ upper: OpenUpper?) -> DeviceState {
    var next = state
    next.server = identity
    next.program = ServerProcess.program
    next.layers = device.image.layers.map(\.blob.path)
    next.upper = upper?.state
    if let sectors = BlockDevice(id: state.id).sectors { next.size = sectors * 512 }
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
  func leave(_ device: Device) -> Never {
    let isDone = device.leave(Deadline(milliseconds: Self.leaveMilliseconds))
    let rest = isDone ? "with nothing under way" : "and what is under way is sent to the next server"
    log.info("\(device.path) is handed over, \(rest)")
    // At once: what no flush has covered is in files, and threads may still use what would be released on the way out.
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
