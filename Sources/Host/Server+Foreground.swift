import Glibc
import Logging
import Posix

/// A device served by this process until it is told to end.
public enum ForegroundServer {
  /// Serves until SIGTERM, SIGINT or the end of the device. `started` is called with the number once the device can
  /// be used. Readiness goes to systemd and to the image's resultFile.
  ///
  /// `recovers`: a device of the number in the options whose server is dead is taken over; only else one is made.
  public static func run(
    _ options: ServerOptions, recovers: Bool = false, started: (UInt32) -> Void
  ) throws(HostError) {
    let log = Logger(label: "warmblk")
    let signals = try SignalQueue()
    let notifier = connectNotifier(log)
    let result = options.config.resultFile.map { ResultFile(path: $0) }
    var isReady = false
    do throws(HostError) {
      try serve(options, recovers, signals, log) { message throws(HostError) in
        if case .warmed(let line) = message { printLine(line) }
        guard case .ready(let id) = message else { return }
        try result?.write(failure: nil)
        isReady = true
        notifier?.ready(status: "serving \(options.config.path ?? "an image") as /dev/ublkb\(id)")
        started(id)
      }
    } catch {
      notifier?.status("failed: \(error)")
      if !isReady { try? result?.write(failure: error.description) }
      notifier?.stopping()
      throw error
    }
    notifier?.stopping()
  }

  private static func serve(
    _ options: ServerOptions, _ recovers: Bool, _ signals: borrowing SignalQueue, _ log: Logger,
    report: (StartMessage) throws(HostError) -> Void
  ) throws(HostError) {
    let server = try Server(options, log)
    guard recovers, let id = options.device.id, try options.directory.state(id) != nil else {
      return try server.run(signals, report: report)
    }
    let lock = try DeviceLock.take(id, options.directory, "serve", Deadline(milliseconds: 5000))
    if let state = try options.directory.state(id) {
      if state.phase == .serving || state.server.isAlive {
        try RecoveryCheck.refuseUnlessFit(state, takesFromLiving: false)
        if state.config != options.config.path {
          throw .refused(
            "device \(id) is \(state.config), whose server is dead, and not \(options.config.path ?? "this image"): "
              + "`warmblk recover -n \(id)` or `warmblk del -n \(id)` first")
        }
      }
      // Without a disk there is nothing to save: its server died while it made the device, or took it away.
      if state.phase == .serving, BlockDevice(id: id).exists {
        return try server.takeOver(state, lock, signals, report: report)
      }
      log.notice("device \(id) is left over without a disk: it is made anew")
      lock.release()
      try Removal(id, options.directory, Removal.Options()) { log.notice("\($0)") }.run()
    }
    lock.release()
    try server.run(signals, report: report)
  }

  /// What was waited for, for whoever looks at standard error.
  private static func printLine(_ line: String) {
    var line = line + "\n"
    line.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
  }

  /// A supervisor that cannot be told is not a reason to have no disk.
  private static func connectNotifier(_ log: Logger) -> ServiceNotifier? {
    do throws(HostError) {
      return try ServiceNotifier.connect()
    } catch {
      log.warning("readiness is not announced: \(error)")
      return nil
    }
  }
}
