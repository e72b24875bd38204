import CLinux
import Glibc
import Posix

/// A command to run on a disk.
public struct WorkloadOptions: Sendable {
  /// The program, looked for on the PATH, and its arguments.
  public var command: [String]
  /// The folder, absolute, where the command sees the disk mounted; nil to mount it nowhere.
  public var mountPoint: String?
  /// The disk's file system, as mount(2) calls it; nil to find out.
  public var fileSystem: String?

  /// `command` has a program at least.
  public init(command: [String], mountPoint: String? = nil, fileSystem: String? = nil) {
    precondition(!command.isEmpty)
    self.command = command
    self.mountPoint = mountPoint
    self.fileSystem = fileSystem
  }
}

/// How a command has ended.
public enum CommandStatus: Equatable, Sendable, CustomStringConvertible {
  /// By itself, with this status.
  case exited(Int32)
  /// By a signal.
  case signalled(Int32)
  /// It has not: even SIGKILL did not end it.
  case stuck

  /// From waitpid(2).
  init(waitStatus: Int32) {
    let signal = waitStatus & 0x7f
    self = signal == 0 ? .exited(waitStatus >> 8 & 0xff) : .signalled(signal)
  }

  /// As a shell has it: 128 and the signal's number for a signal.
  public var exitCode: Int32 {
    switch self {
    case .exited(let status): status
    case .signalled(let signal): 128 + signal
    case .stuck: 1
    }
  }

  /// For people, after "the command".
  public var description: String {
    switch self {
    case .exited(let status): "ended with status \(status)"
    case .signalled(let signal): "was ended by signal \(signal) (\(String(cString: strsignal(signal))))"
    case .stuck: "does not end even when killed: it waits in the kernel"
    }
  }
}

/// A command that runs, in a process group and a mount table of its own.
struct Workload: ~Copyable {
  /// Milliseconds between SIGTERM and SIGKILL, and after that until it is given up.
  private static let grace = 5000

  private let pid: pid_t
  private let process: Descriptor
  /// Has why the command could not be started; closed without a word when it was.
  private let failures: Descriptor

  /// Starts it. Forks: the process must have one thread.
  static func start(_ options: WorkloadOptions, device: String) throws(HostError) -> Workload {
    var pipe = try HostError.describing("make a pipe") { () throws(Errno) in try Pipe() }
    let reading = pipe.reading.take()!
    let writing = pipe.writing.take()!
    let parent = getpid()
    let child = clinux_fork()
    if child == 0 { WorkloadChild(options: options, device: device, parent: parent).run(failures: writing.rawValue) }
    if child < 0 { throw .system(what: "start a process for \(options.command[0])", .last) }
    // Both do it, so that it is done for either.
    setpgid(child, child)
    let process = clinux_pidfd_open(child)
    if process < 0 {
      let error = Errno.last
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
      throw .system(what: "open the process of \(options.command[0])", error)
    }
    return Workload(pid: child, process: Descriptor(owning: process), failures: reading)
  }

  private init(pid: pid_t, process: consuming Descriptor, failures: consuming Descriptor) {
    self.pid = pid
    self.process = process
    self.failures = failures
  }

  /// To wait for its end.
  var pollEntry: pollfd { pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0) }

  /// Whether the command itself runs, or has run: its disk is mounted, its program was found.
  var hasBegun: Bool {
    var entry = pollfd(fd: failures.rawValue, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0 && entry.revents & Int16(POLLIN) == 0
  }

  /// Ends what of its process group still runs: SIGTERM, and SIGKILL 5 s later, or as soon as `isImpatient` says so. Returns
  /// how the command has ended; why it could not be started is thrown.
  func end(isImpatient: () -> Bool) throws(HostError) -> CommandStatus {
    let pid = pid
    var status: Int32?
    // The group keeps its number as long as it has a member; the command itself is one until it is reaped.
    kill(-pid, SIGTERM)
    kill(-pid, SIGCONT)
    var wantsKill = false
    func isGone() -> Bool {
      var value: Int32 = 0
      if status == nil, waitpid(pid, &value, WNOHANG) == pid { status = value }
      wantsKill = wantsKill || isImpatient()
      return status != nil && kill(-pid, 0) != 0
    }
    let hasEnded = Deadline(milliseconds: Self.grace).wait(interval: 2) { isGone() || wantsKill }
    if !hasEnded || wantsKill {
      kill(-pid, SIGKILL)
      _ = Deadline(milliseconds: Self.grace).wait(interval: 2, until: isGone)
    }
    guard let status else { return .stuck }
    if let failure = failure() { throw .refused(failure) }
    return CommandStatus(waitStatus: status)
  }

  private func failure() -> String? {
    var entry = pollfd(fd: failures.rawValue, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 0) > 0, entry.revents & Int16(POLLIN) != 0 else { return nil }
    var text = [UInt8](repeating: 0, count: 4096)
    let count = read(failures.rawValue, &text, text.count)
    return count > 0 ? String(decoding: text[..<count], as: UTF8.self) : nil
  }
}
