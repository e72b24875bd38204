import CLinux
import Device
import Glibc
import Logging
import Posix
import Synchronization

/// The thread of a device's server that answers commands through `/run/warmblk/N.sock` and keeps what is recorded.
///
/// Apart from queues and from the main thread: whatever a peer does, and however long the disk of a trace takes, the
/// device answers and can be taken away.
final class ControlServer: Sendable {
  private let thread: Posix.Thread
  private let wake: Descriptor
  private let path: String?

  /// Starts the thread. A socket that cannot be made is a warning: the device serves without it. `recording` was begun
  /// before.
  init(
    _ device: Device, _ directory: RunDirectory, _ recording: RecordingSession?, _ handOver: HandOver, _ log: Logger
  ) throws(HostError) {
    let wake = try HostError.describing("make an event descriptor") { () throws(Errno) in
      Descriptor(owning: try retryingInterrupts { clinux_eventfd() })
    }
    let path = directory.socketPath(device.id)
    let loop = try ControlLoop(device, directory, recording, handOver, wake.rawValue, log)
    do throws(Errno) {
      loop.listen(on: try UnixSocket.listen(at: path))
      self.path = path
    } catch {
      log.warning("\(path): \(error): `warmblk trace` cannot reach this device")
      self.path = nil
    }
    let work = Sent(loop)
    thread = try HostError.describing("start the control thread") { () throws(Errno) in
      try Posix.Thread(name: "ublk\(device.id)-ctl") { work.loop.run() }
    }
    self.wake = wake
  }

  /// Ends the thread, which first writes what is being recorded, and removes the socket. False when that was not done in
  /// time: the thread then ends with the process.
  func stop(_ deadline: Deadline) -> Bool {
    var one: UInt64 = 1
    _ = write(wake.rawValue, &one, 8)
    let hasEnded = thread.join(deadline)
    if let path { _ = unlink(path) }
    return hasEnded
  }

  /// A loop on its way to its thread.
  private struct Sent: @unchecked Sendable {
    let loop: ControlLoop
    init(_ loop: ControlLoop) { self.loop = loop }
  }
}
