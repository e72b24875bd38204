import CLinux
import Glibc
import Posix

/// A process for good: its number is used again after its end, number and start time together are not.
public struct ProcessIdentity: Codable, Equatable, Hashable, Sendable {
  /// The process id.
  public let pid: Int32
  /// When it started, in clock ticks since the boot (field 22 of `/proc/PID/stat`).
  public let startTime: UInt64

  /// Names a process by its parts.
  public init(pid: Int32, startTime: UInt64) {
    self.pid = pid
    self.startTime = startTime
  }

  /// The calling process.
  public static func current() throws(HostError) -> ProcessIdentity {
    let pid = getpid()
    guard let status = ProcessStatus.read(pid) else {
      throw .refused("/proc/\(pid)/stat cannot be read: is /proc mounted?")
    }
    return ProcessIdentity(pid: pid, startTime: status.startTime)
  }

  /// What the kernel says of it now; nil when it has ended, also when its number belongs to another process.
  public var status: ProcessStatus? {
    guard let status = ProcessStatus.read(pid), status.startTime == startTime, !status.hasEnded else {
      return nil
    }
    return status
  }

  /// Whether it still runs, stopped or not.
  public var isAlive: Bool { status != nil }

  /// Sends `number` to this process and to no other; false when it is gone.
  @discardableResult
  public func signal(_ number: Int32) throws(HostError) -> Bool {
    guard let descriptor = open() else { return false }
    if clinux_pidfd_signal(descriptor.rawValue, number) == 0 { return true }
    let error = Errno.last
    if error.rawValue == ESRCH { return false }
    throw .system(what: "send signal \(number) to process \(pid)", error)
  }

  /// Waits for its end; false when the deadline came first.
  public func waitForEnd(_ deadline: Deadline) -> Bool {
    guard let descriptor = open() else { return true }
    var entry = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
    while isAlive {
      if deadline.hasPassed { return false }
      // A zombie of another parent answers POLLIN already: `isAlive` counts it as ended.
      _ = poll(&entry, 1, Int32(clamping: min(deadline.remaining / 1_000_000 + 1, 1000)))
    }
    return true
  }

  /// A descriptor of the process: opened first, then compared, so that a recycled number is noticed.
  private func open() -> Descriptor? {
    let raw = clinux_pidfd_open(pid)
    if raw < 0 { return nil }
    let descriptor = Descriptor(owning: raw)
    if !isAlive { return nil }
    return descriptor
  }
}

/// What `/proc/PID/stat` says of a process.
public struct ProcessStatus: Equatable, Sendable {
  /// The program's name, at most 15 bytes.
  public let name: String
  /// `R`, `S`, `D`, `T`, `Z` and so on.
  public let state: Character
  /// Clock ticks since the boot.
  public let startTime: UInt64

  /// Parses a line of `/proc/PID/stat`; nil when it is not one. The name may hold blanks and parentheses.
  public init?(parsing line: String) {
    guard let open = line.firstIndex(of: "("), let close = line.lastIndex(of: ")"), open < close else {
      return nil
    }
    let fields = line[line.index(after: close)...].split(separator: " ")
    // Field 3 is the first behind the name, so field 22 is number 19 here.
    guard fields.count > 19, let state = fields[0].first, fields[0].count == 1, let start = UInt64(fields[19])
    else {
      return nil
    }
    name = String(line[line.index(after: open)..<close])
    self.state = state
    startTime = start
  }

  /// A process's status; nil when there is no such process.
  public static func read(_ pid: Int32) -> ProcessStatus? {
    guard pid > 0, let bytes = try? readFile("/proc/\(pid)/stat", limit: 4096) else { return nil }
    return ProcessStatus(parsing: String(decoding: bytes, as: UTF8.self))
  }

  /// Stopped by a signal or a debugger: whoever reads its device waits.
  public var isPaused: Bool { state == "T" || state == "t" }
  /// A zombie, or about to vanish.
  public var hasEnded: Bool { state == "Z" || state == "X" || state == "x" }
}
