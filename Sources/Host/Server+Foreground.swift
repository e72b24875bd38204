import Glibc
import Logging
import Posix

/// A device served by this process until it is told to end.
public enum ForegroundServer {
  /// Serves until SIGTERM, SIGINT or the end of the device. `started` is called with the number once the device can
  /// be used. Readiness goes to systemd and to the image's resultFile.
  public static func run(_ options: ServerOptions, started: (UInt32) -> Void) throws(HostError) {
    let log = Logger(label: "warmblk")
    let signals = try SignalQueue()
    let notifier = connectNotifier(log)
    let result = options.config.resultFile.map { ResultFile(path: $0) }
    var isReady = false
    do throws(HostError) {
      try Server(options, log).run(signals) { message throws(HostError) in
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
