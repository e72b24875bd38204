import Glibc
import Posix
import Ring
import Ublk

/// What `warmblk doctor` says of one thing.
public struct Check: Encodable, Equatable, Sendable {
  /// How it is.
  public enum Status: String, Encodable, Sendable {
    /// As it should be.
    case ok
    /// Devices work, with a disadvantage.
    case note
    /// No device can be made.
    case failed
  }

  /// What was looked at.
  public let name: String
  /// How it is.
  public let status: Status
  /// What was found.
  public let found: String
  /// What to do; nil when nothing has to be done.
  public let remedy: String?

  init(_ name: String, _ status: Status, _ found: String, remedy: String? = nil) {
    self.name = name
    self.status = status
    self.found = found
    self.remedy = remedy
  }
}

/// A feature of the driver, as this machine has it.
public struct FeatureReport: Encodable, Sendable {
  /// Its name in the kernel, without `UBLK_F_`.
  public let name: String
  /// The first mainline release with it.
  public let since: String
  /// Whether this driver offers it.
  public let offered: Bool
  /// What that means for a device here.
  public let effect: String
}

/// Whether this machine can have devices, and why not.
public struct Diagnosis: Encodable, Sendable {
  /// Whether nothing is in the way.
  public let ready: Bool
  /// The running kernel's release.
  public let kernel: String
  /// In the order in which things are needed.
  public let checks: [Check]
  /// What the driver offers; empty when it could not be asked.
  public let features: [FeatureReport]

  /// Looks at everything. Makes no device and loads no module.
  public static func make() -> Diagnosis {
    let kernel = KernelVersion.running()
    var checks = Check.kernel(release: kernel.release, version: kernel.version)
    checks += [.user(geteuid()), .driver(DriverFacts.read(release: kernel.release)), .ring(RingFacts.read())]
    var features: [FeatureReport] = []
    let control = controlCheck(&features)
    checks.append(control)
    checks += [
      .descriptors(limits(of: 7)), .lockedMemory(limits(of: 8), isRoot: geteuid() == 0),
      .deviceLimit(
        BlockDevice.all().count, limit: DriverFacts.deviceLimit(), version: kernel.version),
      .deviceManager(BlockDevice.hasDeviceManager),
    ]
    return Diagnosis(
      ready: !checks.contains { $0.status == .failed }, kernel: kernel.release, checks: checks,
      features: features)
  }

  private static func controlCheck(_ features: inout [FeatureReport]) -> Check {
    do throws(UblkError) {
      let offered = try Control(deadline: Deadline(milliseconds: 5000)).features()
      features = report(offered)
      return .control(offered)
    } catch {
      let parts = error.description.split(separator: ": ", maxSplits: 1)
      return Check(
        "/dev/ublk-control", .failed, String(parts[0]), remedy: parts.count > 1 ? String(parts[1]) : nil)
    }
  }

  static func report(_ offered: Features) -> [FeatureReport] {
    featureTable.map { row in
      let has = offered.contains(row.feature)
      return FeatureReport(
        name: row.name, since: row.since, offered: has,
        effect: has
          ? row.gives : row.without.isEmpty ? "nothing changes without it" : "without it: \(row.without)")
    }
  }

  private static func limits(of resource: Int32) -> Limits { Limits(resource) }
}
