import Glibc
import Posix

/// The virtual machine that the tests run in.
enum Guest {
  /// The kernel's name as scripts/test calls it, 6.12 or 7.3; nil outside.
  static let kernel = environment("WARMBLK_VM_KERNEL")
  static let isHere = kernel != nil
  static let absence =
    "no virtual machine (WARMBLK_VM_KERNEL is not set): `scripts/test --device` runs the device tests"

  /// The program under test.
  static let binary = environment("WARMBLK_BINARY") ?? "WARMBLK_BINARY is not set"

  /// Whether the kernel notices at once that a server was killed, whatever its requests are doing (7.0).
  static var noticesDeathAtOnce: Bool { major >= 7 }

  private static let major: Int = {
    let release = (try? readFile("/proc/sys/kernel/osrelease")) ?? []
    return String(decoding: release, as: UTF8.self).split(separator: ".").first.flatMap { Int($0) } ?? 0
  }()

  static func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
  }

  /// A file's text; empty when it cannot be read.
  static func text(_ path: String) -> String {
    String(decoding: (try? readFile(path)) ?? [], as: UTF8.self)
  }

  /// The number behind `key` in a file like `/proc/meminfo`, as it stands there: kB.
  static func kilobytes(_ key: String, in path: String) -> Int? {
    text(path).split(separator: "\n").first { $0.hasPrefix(key + ":") }.flatMap { line in
      line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
  }

  /// Processes whose program is the one under test, servers above all, but for the watcher.
  static func servers() -> [Int32] { processes().filter { !isWatcher($0) && !isHolder($0) } }

  /// Processes that hold disks for their page caches.
  static func holders() -> [Int32] { processes().filter(isHolder) }

  /// The process that starts new servers, which ends a moment after the last device.
  static func watchers() -> [Int32] { processes().filter(isWatcher) }

  private static func isHolder(_ pid: Int32) -> Bool {
    text("/proc/\(pid)/cmdline").split(separator: "\0").dropFirst().first == "hold-disk"
  }

  /// A server that the watcher has started has its command line, and threads.
  private static func isWatcher(_ pid: Int32) -> Bool {
    text("/proc/\(pid)/cmdline").split(separator: "\0").dropFirst().first == "watch"
      && (try? listDirectory("/proc/\(pid)/task").count) ?? 1 == 1
  }

  private static func processes() -> [Int32] {
    let program = target(of: "/proc/self/root" + binary) ?? binary
    return ((try? listDirectory("/proc")) ?? []).compactMap { Int32($0) }.filter {
      target(of: "/proc/\($0)/exe") == program
    }
  }

  /// Nodes that devices have in /dev.
  static func nodes() -> [String] {
    ((try? listDirectory("/dev")) ?? []).filter { $0.hasPrefix("ublk") && $0 != "ublk-control" }.sorted()
  }

  /// What is in the folder of state files, but for the watcher's.
  static func stateFiles() -> [String] { runFiles().filter { !$0.hasPrefix("watch.") } }

  /// What the watcher has there.
  static func watcherFiles() -> [String] { runFiles().filter { $0.hasPrefix("watch.") } }

  private static func runFiles() -> [String] { ((try? listDirectory("/run/warmblk")) ?? []).sorted() }

  private static func target(of path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }
}
