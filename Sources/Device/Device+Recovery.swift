import Glibc
import Image
import Posix
import Ublk
import UpperLayer

/// A disk that outlives its server.
extension Device {
  /// What is wanted of the driver for that, given what it offers.
  static func recoveryFeatures(_ offered: Features) -> Features {
    if !offered.isSuperset(of: .recovery) { return [] }
    return Features.recovery.union(offered.intersection(.quiesce))
  }

  /// Goes on with device `id`, whose server is gone or about to be: waits for the driver to notice, serves it, and returns
  /// when it answers.
  ///
  /// `shape` is what is known of the device, `counters` are those that the last server kept. Whatever is thrown: once this
  /// process has ended the device is as it was, and can be recovered again. So the caller ends.
  ///
  /// - Throws: `notAsRecorded` for another device than `shape` describes, `timedOut` when the driver does not notice within
  ///   `timeout` seconds that the last server is gone.
  public static func recover(
    _ id: UInt32, image: Image, upper: Upper? = nil, shape: DeviceShape, timeout: Int, counters: CounterPage
  ) throws(DeviceError) -> Device {
    let deadline = Deadline(milliseconds: timeout * 1000)
    let ended = try makeEvent()
    let control = try DeviceError.driver { () throws(UblkError) in try Control(deadline: deadline) }
    let info = try waitForDeath(id, shape, control, deadline)
    try beginRecovery(id, control, deadline)
    let device = Device(image, upper, info, counters, ended, control)
    do throws(DeviceError) {
      try device.startQueues(deadline)
      try DeviceError.driver { () throws(UblkError) in try device.control.endRecovery(id, pid: getpid()) }
    } catch {
      // Its threads may hold tags, and use its memory until the process is gone.
      _ = Unmanaged.passRetained(device)
      throw error
    }
    return device
  }

  /// Half a millisecond: the driver notices the death of a server some milliseconds after the process is gone.
  private static let lookMicroseconds: UInt32 = 500

  /// Until the driver knows that the last server is gone. On 6.12 it may take 30 s: a timer of the block layer finds out
  /// when the server had all tags of a queue in its hands.
  private static func waitForDeath(
    _ id: UInt32, _ shape: DeviceShape, _ control: borrowing Control, _ deadline: Deadline
  ) throws(DeviceError) -> DeviceInfo {
    while true {
      let info: DeviceInfo
      do throws(UblkError) { info = try control.info(id) } catch {
        if error.errno != .noDevice { throw .ublk(error) }
        throw .notAsRecorded("the driver has no device \(id) any more; `warmblk del -n \(id)` removes its files")
      }
      if let difference = shape.difference(from: DeviceShape(info)) {
        throw .notAsRecorded("device \(id) is not recovered: \(difference); `warmblk del -n \(id)` takes it away")
      }
      switch info.state {
      case .quiesced, .failing: return info
      case .dead:
        throw .notAsRecorded("device \(id) was stopped, so its disk is gone; `warmblk del -n \(id)` removes the rest")
      case .live, nil: break
      }
      if deadline.hasPassed {
        throw .timedOut(
          what: "the driver still takes the server of device \(id) for alive (pid \(info.serverPID ?? -1)); try again, "
            + "see who has /dev/ublkc\(id) open, and `dmesg`")
      }
      usleep(lookMicroseconds)
    }
  }

  /// START_USER_RECOVERY, which is refused as long as a part of the last server is still there.
  private static func beginRecovery(
    _ id: UInt32, _ control: borrowing Control, _ deadline: Deadline
  ) throws(DeviceError) {
    while true {
      do throws(UblkError) { return try control.startRecovery(id) } catch {
        if error.errno != .busy || deadline.hasPassed { throw .ublk(error) }
      }
      usleep(lookMicroseconds)
    }
  }

  /// What the driver may wait for a moment in which each queue has a tag that waits. It looks every 3 ms; while a queue is
  /// full of requests there is none, and those that wait are worth more than that all are answered here.
  private static let quiesceMilliseconds = 60

  /// Answers what is under way, takes nothing new, and leaves the disk to the next server: requests wait for it. Not all
  /// is answered where the driver cannot quiesce a device (before 6.16), or when the deadline comes first: false then, and
  /// the driver gives what is left to the next server once this process has ended, which must be now.
  public func leave(_ deadline: Deadline) -> Bool {
    _ = heldDisk.release(Deadline(milliseconds: 100))
    guard features.contains(.quiesce) else { return false }
    control.deadline = deadline
    do throws(UblkError) {
      try control.quiesce(id, milliseconds: Self.quiesceMilliseconds)
    } catch {
      return false
    }
    return threads.allSatisfy { $0.join(deadline) }
  }
}
