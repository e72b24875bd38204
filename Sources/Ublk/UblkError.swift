import Posix

/// What went wrong between a program and the ublk driver.
public enum UblkError: Error, Equatable, CustomStringConvertible {
  /// `/dev/ublk-control` could not be opened.
  case noControl(Errno)
  /// No io_uring could be made.
  case noRing(Errno)
  /// The driver refused a command.
  case refused(command: String, device: UInt32?, Errno)
  /// The driver did not answer in the time that was left; what the command was about may still happen.
  case timedOut(command: String, device: UInt32?, milliseconds: Int)
  /// A device came back without features that it needs.
  case featuresMissing(Features)

  /// The driver's own error number, where it gave one.
  public var errno: Errno? {
    switch self {
    case .noControl(let error), .noRing(let error), .refused(_, _, let error): error
    case .timedOut: .timedOut
    case .featuresMissing: nil
    }
  }

  /// What was tried, on what, what came of it, and what to do.
  public var description: String {
    switch self {
    case .noControl(.noEntry):
      return "/dev/ublk-control is not there: load the driver with `modprobe ublk_drv` (Linux 6.0 or later)"
    case .noControl(let error) where error == .access || error == .permission:
      return "/dev/ublk-control: \(error): run as root"
    case .noControl(let error):
      return "cannot open /dev/ublk-control: \(error)"
    case .noRing(.permission):
      return "io_uring is forbidden here: allow it with `sysctl kernel.io_uring_disabled=0`"
    case .noRing(let error):
      return "cannot make an io_uring: \(error)"
    case .refused(let command, let device, let error):
      return "\(command)\(Self.of(device)): \(error)\(Self.remedy(command, error))"
    case .timedOut(let command, let device, let milliseconds):
      return "\(command)\(Self.of(device)): the driver did not answer within \(milliseconds) ms; see `dmesg`, "
        + "and `warmblk doctor` for kernels that are known for it"
    case .featuresMissing(let features):
      return "this kernel's ublk driver lacks \(features); see `warmblk doctor`"
    }
  }

  private static func of(_ device: UInt32?) -> String { device.map { " of device \($0)" } ?? "" }

  private static func remedy(_ command: String, _ error: Errno) -> String {
    switch (command, error) {
    case ("ADD_DEV", .exists): "; the number is taken, see `warmblk list` or leave --id out"
    case ("TRY_STOP_DEV", .busy): "; the device is open"
    case (_, .permission), (_, .access): "; run as root"
    default: ""
    }
  }
}
