/// A defect of some kernels' ublk driver that concerns a read-only disk.
public struct KernelProblem: Sendable {
  /// What it means for a device.
  public enum Severity: Sendable {
    /// No device is made there: the machine would need a reboot, or it cannot work.
    case refuse
    /// Devices work; this may happen.
    case note
  }

  /// How bad it is.
  public let severity: Severity
  /// The first version that has it.
  public let from: KernelVersion
  /// The first later version without it.
  public let until: KernelVersion
  /// What happens there.
  public let effect: String
  /// What to do.
  public let remedy: String

  /// The problems of `version`, worst first.
  public static func known(in version: KernelVersion) -> [KernelProblem] {
    let found = table.filter { $0.from <= version && version < $0.until }
    return found.filter { $0.severity == .refuse } + found.filter { $0.severity == .note }
  }

  static let table: [KernelProblem] = [
    KernelProblem(
      severity: .refuse, from: KernelVersion(0, 0), until: KernelVersion(6, 0),
      effect: "has no ublk driver", remedy: "use Linux 6.5 or later; 6.12 and 7.3 are tested"),
    KernelProblem(
      severity: .refuse, from: KernelVersion(6, 0), until: KernelVersion(6, 4),
      effect:
        "has a ublk driver without the commands that warmblk sends (UBLK_F_CMD_IOCTL_ENCODE came with 6.4)",
      remedy: "use Linux 6.5 or later; 6.12 and 7.3 are tested"),
    KernelProblem(
      severity: .refuse, from: KernelVersion(6, 18, 4), until: KernelVersion(6, 18, 6),
      effect:
        "crashes in ADD_DEV (NULL dereference while it allocates queues): the command never returns, and no "
        + "ublk command works any more until a reboot",
      remedy: "use 6.18.6 or later, or 6.18.3 or earlier"),
    KernelProblem(
      severity: .note, from: KernelVersion(6, 17), until: KernelVersion(6, 18),
      effect: "crashes in ADD_DEV in several vendors' builds that took a NUMA change without what it needs",
      remedy: "try it on a machine that may be rebooted, or use 6.12 or 6.18.6 and later"),
    KernelProblem(
      severity: .note, from: KernelVersion(6, 4), until: KernelVersion(6, 7),
      effect: "notices a killed server only within 5 s: only then a new one can go on with its disk",
      remedy: "nothing to do; later kernels notice at once"),
    KernelProblem(
      severity: .note, from: KernelVersion(6, 7), until: KernelVersion(6, 13),
      effect:
        "may notice a server that was killed while it had all tags of a queue in its hands only after 30 s: until then "
        + "its disk has no new one",
      remedy: "nothing to do; a larger --depth makes it less likely"),
    KernelProblem(
      severity: .note, from: KernelVersion(7, 0), until: KernelVersion(7, 0, 10),
      effect: "has a use-after-free when a device is taken away while its server is cancelled",
      remedy: "delete devices when nobody reads them, or use 7.1 or later"),
    KernelProblem(
      severity: .note, from: KernelVersion(7, 1), until: KernelVersion(7, 3, 4),
      effect: "has races between the stop of a device and the start of a new round of its server",
      remedy: "nothing to do: warmblk never restarts a device that was stopped, it makes a new one"),
  ]
}
