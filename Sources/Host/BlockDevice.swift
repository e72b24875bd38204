import CLinux
import Posix

/// A disk of the ublk driver as sysfs and udev show it. Reading these never waits for the disk's server.
struct BlockDevice {
  let id: UInt32

  /// `ublkbN`.
  var name: String { "ublkb\(id)" }
  private var directory: String { "/sys/block/\(name)" }

  /// Whether the disk is there: started, not stopped.
  var exists: Bool { fileExists(directory) }

  /// Whether the driver knows the device, disk or not.
  var hasCharacterNode: Bool {
    fileExists("/sys/class/ublk-char/ublkc\(id)") || fileExists("/dev/ublkc\(id)")
  }

  /// The size in sectors of 512 bytes.
  var sectors: UInt64? { Self.text("\(directory)/size").flatMap { UInt64($0) } }

  /// The numbers of the disk and its partitions, with their names.
  var numbers: [(name: String, number: DeviceNumber)] {
    let parts = ((try? listDirectory(directory)) ?? []).filter { $0.hasPrefix(name) }.map {
      ($0, "\(directory)/\($0)")
    }
    return ([(name, directory)] + parts).compactMap { name, path in
      Self.text("\(path)/dev").flatMap { DeviceNumber(parsing: $0) }.map { (name, $0) }
    }
  }

  /// Devices built on top of the disk or a partition of it: device mapper, md.
  var holders: [String] {
    ((try? listDirectory(directory)) ?? []).filter { $0.hasPrefix(name) }.map { "\(directory)/\($0)" }
      .reduce(into: (try? listDirectory("\(directory)/holders")) ?? []) { holders, path in
        holders += (try? listDirectory("\(path)/holders")) ?? []
      }
  }

  /// Whether udev runs.
  static var hasDeviceManager: Bool { fileExists("/run/udev/control") }

  /// Whether udev's rules have run for the disk.
  var isKnownToDeviceManager: Bool {
    guard let number = Self.text("\(directory)/dev") else { return false }
    return fileExists("/run/udev/data/b\(number)")
  }

  /// The numbers of all devices of the driver, whoever made them, ascending.
  static func all() -> [UInt32] {
    ((try? listDirectory("/sys/class/ublk-char")) ?? []).compactMap {
      $0.hasPrefix("ublkc") ? UInt32($0.dropFirst(5)) : nil
    }.sorted()
  }

  private static func text(_ path: String) -> String? {
    guard let bytes = try? readFile(path, limit: 4096) else { return nil }
    return String(String(decoding: bytes, as: UTF8.self).prefix { !$0.isNewline })
  }
}

/// A device number, `259:3`.
struct DeviceNumber: Equatable, Hashable {
  let major: UInt32
  let minor: UInt32

  init(major: UInt32, minor: UInt32) {
    self.major = major
    self.minor = minor
  }

  init?(parsing text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, let major = UInt32(parts[0]), let minor = UInt32(parts[1]) else { return nil }
    self.init(major: major, minor: minor)
  }
}

extension DeviceNumber {
  /// From `st_rdev`.
  init(_ combined: UInt64) { self.init(major: clinux_major(combined), minor: clinux_minor(combined)) }
}
