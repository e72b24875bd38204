import Posix

/// One line of `/proc/PID/mountinfo` (proc(5)).
public struct MountEntry: Equatable, Sendable {
  /// The file system's device; 0:N for those without one, and for btrfs.
  public let major: UInt32
  /// See `major`.
  public let minor: UInt32
  /// Where it is mounted, as the process sees it.
  public let mountPoint: String
  /// Whether mounts and unmounts come from another namespace (`master:` or `shared:`).
  public let receivesChanges: Bool
  /// `ext4` and so on.
  public let type: String
  /// What was mounted: usually the path of a device.
  public let source: String

  /// Parses a line; nil when it is not one.
  public init?(parsing line: Substring) {
    let fields = line.split(separator: " ", omittingEmptySubsequences: false)
    guard fields.count >= 10, let separator = fields.dropFirst(6).firstIndex(of: "-"),
      separator + 2 < fields.count
    else { return nil }
    let device = fields[2].split(separator: ":")
    guard device.count == 2, let major = UInt32(device[0]), let minor = UInt32(device[1]) else { return nil }
    self.major = major
    self.minor = minor
    mountPoint = Self.unescape(fields[4])
    receivesChanges = fields[6..<separator].contains { $0.hasPrefix("master:") || $0.hasPrefix("shared:") }
    type = String(fields[separator + 1])
    source = Self.unescape(fields[separator + 2])
  }

  /// All lines that can be parsed, in the kernel's order.
  public static func parse(_ text: String) -> [MountEntry] {
    text.split(separator: "\n").compactMap { MountEntry(parsing: $0) }
  }

  /// The mounts that `process` sees (`self` or a number); nil when that cannot be read.
  static func read(_ process: String) -> [MountEntry]? {
    guard let bytes = try? readFile("/proc/\(process)/mountinfo", limit: 64 << 20) else { return nil }
    return parse(String(decoding: bytes, as: UTF8.self))
  }

  /// Blanks, tabs, newlines and backslashes are octal: `\040`.
  private static func unescape(_ text: Substring) -> String {
    guard text.utf8.contains(UInt8(ascii: "\\")) else { return String(text) }
    var bytes: [UInt8] = []
    let source = Array(text.utf8)
    var index = 0
    while index < source.count {
      if source[index] == UInt8(ascii: "\\"), index + 3 < source.count,
        let value = UInt8(String(decoding: source[index + 1...index + 3], as: UTF8.self), radix: 8)
      {
        bytes.append(value)
        index += 4
      } else {
        bytes.append(source[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
