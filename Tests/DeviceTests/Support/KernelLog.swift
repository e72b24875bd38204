import Glibc
import Posix

/// What the kernel says.
enum KernelLog {
  /// Words of messages that mean a defect, and of those that mean that something hangs.
  private static let words = [
    "WARNING:", "BUG:", "Oops", "Call Trace", "general protection", "refcount_t", "blocked for more than",
    "stuck for",
    "kernel panic", "use-after-free", "Unable to handle",
  ]
  private static let descriptor = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)

  /// Messages since the last call that mean a defect, and the call's first lines.
  static func complaints() -> [String] {
    var found: [String] = []
    var record = [UInt8](repeating: 0, count: 8192)
    while true {
      let count = read(descriptor, &record, record.count)
      if count < 0, errno == EPIPE { continue }
      if count <= 0 { return found }
      let text = String(decoding: record[..<count], as: UTF8.self)
      let message = text.split(separator: ";", maxSplits: 1).last.map(String.init) ?? text
      if words.contains(where: message.contains) { found.append(message) }
    }
  }
}
