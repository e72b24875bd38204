import CLinux
import Glibc
import Posix
import Ring
import Ublk

/// How the driver is there.
enum DriverFacts: Equatable {
  case loaded, builtIn, loadable, missing

  static func read(release: String) -> DriverFacts {
    if fileExists("/sys/module/ublk_drv") { return .loaded }
    let folder = "/lib/modules/\(release)"
    if contains("\(folder)/modules.builtin", "/ublk_drv.ko") { return .builtIn }
    return contains("\(folder)/modules.dep", "/ublk_drv.ko") ? .loadable : .missing
  }

  /// The module's parameter `ublks_max`.
  static func deviceLimit() -> Int? {
    guard let bytes = try? readFile("/sys/module/ublk_drv/parameters/ublks_max", limit: 64) else {
      return nil
    }
    return Int(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
  }

  private static func contains(_ path: String, _ text: String) -> Bool {
    guard let bytes = try? readFile(path) else { return false }
    return String(decoding: bytes, as: UTF8.self).contains(text)
  }
}

/// Whether io_uring can be used.
struct RingFacts: Equatable {
  /// `kernel.io_uring_disabled`: 0 for all, 1 for privileged processes, 2 for nobody; nil before Linux 6.6.
  var disabled: Int?
  /// Why no ring could be made; nil when one could.
  var failure: Errno?

  static func read() -> RingFacts {
    var facts = RingFacts()
    if let bytes = try? readFile("/proc/sys/kernel/io_uring_disabled", limit: 64) {
      facts.disabled = Int(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
    }
    do throws(Errno) { _ = try Ring(entries: 4, flags: .largeEntries) } catch { facts.failure = error }
    return facts
  }
}

/// A soft and a hard limit of this process; `UInt64.max` is no limit.
struct Limits: Equatable {
  var soft: UInt64
  var hard: UInt64

  init(soft: UInt64, hard: UInt64) {
    self.soft = soft
    self.hard = hard
  }

  init(_ resource: Int32) {
    self.init(soft: 0, hard: 0)
    _ = clinux_get_limit(resource, &soft, &hard)
  }

  var text: String { hard == .max ? "unlimited" : "\(hard)" }
}

extension Check {
  static func kernel(release: String, version: KernelVersion?) -> [Check] {
    guard let version else {
      return [Check("kernel", .note, "\(release): not a version that can be compared with the known defects")]
    }
    let shown = release.hasPrefix(version.description) ? release : "\(release) (\(version))"
    let problems = KernelProblem.known(in: version)
    if problems.isEmpty { return [Check("kernel", .ok, shown)] }
    return problems.map {
      Check("kernel", $0.severity == .refuse ? .failed : .note, "\(shown) \($0.effect)", remedy: $0.remedy)
    }
  }

  static func user(_ uid: uid_t) -> Check {
    uid == 0
      ? Check("user", .ok, "root") : Check("user", .failed, "user \(uid)", remedy: "run as root (sudo)")
  }

  static func driver(_ facts: DriverFacts) -> Check {
    switch facts {
    case .loaded: Check("ublk_drv", .ok, "loaded")
    case .builtIn: Check("ublk_drv", .ok, "built into the kernel")
    case .loadable: Check("ublk_drv", .failed, "not loaded", remedy: "modprobe ublk_drv")
    case .missing:
      Check(
        "ublk_drv", .failed, "neither loaded nor among this kernel's modules",
        remedy: "install a kernel with CONFIG_BLK_DEV_UBLK; Debian's linux-image packages have it as a module"
      )
    }
  }

  static func ring(_ facts: RingFacts) -> Check {
    guard let failure = facts.failure else { return Check("io_uring", .ok, "can be used") }
    switch (failure, facts.disabled) {
    case (_, .some(let value)) where value > 0:
      return Check(
        "io_uring", .failed, "kernel.io_uring_disabled is \(value)",
        remedy: "sysctl kernel.io_uring_disabled=0")
    case (.permission, _):
      return Check(
        "io_uring", .failed, "forbidden: \(failure)",
        remedy: "a container's seccomp profile forbids it: run on the host, or allow io_uring_setup")
    default:
      return Check(
        "io_uring", .failed, "no ring can be made: \(failure)", remedy: "Linux 6.5 or later has it")
    }
  }

  static func control(_ offered: Features) -> Check {
    let name = "/dev/ublk-control"
    if !offered.contains(.encodedCommands) {
      return Check(
        name, .failed, "answers, without CMD_IOCTL_ENCODE", remedy: "use Linux 6.5 or later")
    }
    return Check(name, .ok, "answers")
  }

  static func descriptors(_ limits: Limits) -> Check {
    let name = "RLIMIT_NOFILE"
    return limits.hard >= 4096
      ? Check(name, .ok, limits.text)
      : Check(
        name, .note, "\(limits.text): few for images of many layers",
        remedy: "ulimit -n 65536, or LimitNOFILE=")
  }

  static func lockedMemory(_ limits: Limits, isRoot: Bool) -> Check {
    let name = "RLIMIT_MEMLOCK"
    if isRoot { return Check(name, .ok, "no limit for root") }
    return limits.hard == .max
      ? Check(name, .ok, limits.text)
      : Check(
        name, .note,
        "\(limits.text) bytes: a server cannot lock its memory, and may stall when memory is short",
        remedy: "run as root, or LimitMEMLOCK=infinity")
  }

  /// `ublks_max` counted all devices from 6.3 to 6.14; since 6.15, and in 6.12.95, only unprivileged ones.
  static func deviceLimit(_ devices: Int, limit: Int?, version: KernelVersion?) -> Check {
    let name = "ublks_max"
    guard let limit else { return Check(name, .ok, "\(devices) devices, no limit known") }
    let countsAll =
      version.map {
        $0 < KernelVersion(6, 15) && !($0 >= KernelVersion(6, 12, 95) && $0 < KernelVersion(6, 13))
      } ?? false
    if !countsAll { return Check(name, .ok, "\(limit), for unprivileged devices only") }
    if devices < limit { return Check(name, .ok, "\(devices) of \(limit) devices") }
    return Check(
      name, .failed, "\(devices) devices, and \(limit) are allowed",
      remedy: "echo \(limit * 2) > /sys/module/ublk_drv/parameters/ublks_max")
  }

  static func deviceManager(_ isRunning: Bool) -> Check {
    isRunning
      ? Check("udev", .ok, "runs")
      : Check(
        "udev", .note, "does not run: /dev/ublkbN is made by devtmpfs, links in /dev/disk are not",
        remedy: "nothing to do unless you need these links")
  }
}
