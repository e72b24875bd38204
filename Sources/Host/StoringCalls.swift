import CLinux
import Posix

/// Whether a process is at work on files, as `/proc` shows it: a server that ends makes durable what was written.
enum StoringCalls {
  /// Whether a thread of process `pid` is in the middle of a call that changes a file, or makes it durable.
  static func isMaking(_ pid: Int32) -> Bool {
    ((try? listDirectory("/proc/\(pid)/task")) ?? []).contains { thread in
      guard let bytes = try? readFile("/proc/\(pid)/task/\(thread)/syscall", limit: 4096) else { return false }
      return isOne(String(decoding: bytes, as: UTF8.self))
    }
  }

  /// Whether a line of `/proc/PID/syscall` (Linux 2.6.27), `75 0x1f …` or `running`, is of such a call.
  static func isOne(_ line: String) -> Bool {
    guard let number = line.split(separator: " ").first.flatMap({ Int32($0) }), number >= 0 else { return false }
    return clinux_is_storing_call(number) == 1
  }
}
