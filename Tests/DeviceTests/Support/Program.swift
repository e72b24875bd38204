import CLinux
import Glibc
import Posix

/// What became of a program.
struct Outcome: Sendable, CustomStringConvertible {
  let command: [String]
  /// The exit status; 128 and the signal's number when a signal ended it.
  let status: Int32
  let output: String
  let errors: String
  /// How long it ran.
  let seconds: Double
  /// It did not end in time and was killed.
  let wasLate: Bool

  var succeeded: Bool { status == 0 && !wasLate }
  var description: String {
    "\(command.joined(separator: " ")): status \(status)\(wasLate ? " (killed: too late)" : "") after \(seconds) s\n\(output)\(errors)"
  }
}

/// A program that did not do what it was asked.
struct ProgramFailed: Error, CustomStringConvertible { let description: String }

/// A program that runs beside the test. What it prints goes to files, so that nothing that it leaves running keeps the
/// test waiting.
final class Program {
  let command: [String]
  let pid: pid_t
  private let began = monotonicNanoseconds()
  private let output: Descriptor
  private let errors: Descriptor
  private var outcome: Outcome?

  /// Starts it from the PATH; `variables` are added to its environment.
  init(_ command: [String], variables: [String] = []) throws {
    self.command = command
    output = try Self.scratchFile()
    errors = try Self.scratchFile()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, output.rawValue, 1)
    posix_spawn_file_actions_adddup2(&actions, errors.rawValue, 2)
    var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    var environment: [UnsafeMutablePointer<CChar>?] =
      (variables + Self.environment).map { strdup($0) } + [nil]
    defer { (words + environment).forEach { free($0) } }
    var pid: pid_t = 0
    let error = posix_spawnp(&pid, command[0], &actions, nil, &words, &environment)
    guard error == 0 else { throw ProgramFailed(description: "\(command[0]): \(Errno(rawValue: error))") }
    self.pid = pid
  }

  deinit {
    if outcome == nil { _ = try? wait(seconds: 0) }
  }

  var isRunning: Bool {
    if outcome != nil { return false }
    var info = siginfo_t()
    return waitid(P_PID, id_t(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_signo == 0
  }

  func signal(_ number: Int32) { if outcome == nil { kill(pid, number) } }

  /// What it has printed so far.
  func printed() throws -> String { try Self.contents(output) }

  /// Waits for its end, and kills it when the time is over.
  @discardableResult
  func wait(seconds: Double) throws -> Outcome {
    if let outcome { return outcome }
    let inTime = Deadline(milliseconds: Int(seconds * 1000)).wait(interval: 2) { !isRunning }
    var status: Int32 = 0
    if !inTime { kill(pid, SIGKILL) }
    // One that hangs in the kernel is left to the machine's own time limit.
    let ended = inTime || Deadline(milliseconds: 5000).wait(interval: 5) { !isRunning }
    let took = Double(monotonicNanoseconds() - began) / 1e9
    if ended { waitpid(pid, &status, 0) }
    let code = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
    let result = Outcome(
      command: command, status: ended ? code : -1, output: try Self.contents(output),
      errors: try Self.contents(errors), seconds: took, wasLate: !inTime)
    outcome = result
    return result
  }

  /// The test's own variables, but for those that make a program say more than it does without.
  private static let environment: [String] = {
    var found: [String] = []
    var next = environ
    while let variable = next.pointee {
      found.append(String(cString: variable))
      next += 1
    }
    return found.filter { !$0.hasPrefix("SWIFT_BACKTRACE=") } + ["SWIFT_BACKTRACE=enable=no"]
  }()

  /// A file that has no name, in memory.
  private static func scratchFile() throws -> Descriptor {
    let path = "/dev/shm/warmblk-output.\(getpid())"
    let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND)
    unlink(path)
    return file
  }

  private static func contents(_ file: borrowing Descriptor) throws -> String {
    var bytes = [UInt8](repeating: 0, count: Int(try file.status().st_size))
    let count = try bytes.withUnsafeMutableBytes { try file.readFully(into: $0, at: 0) }
    return String(decoding: bytes[..<count], as: UTF8.self)
  }
}

/// Runs a program to its end.
@discardableResult
func run(_ command: String..., seconds: Double = 60) throws -> Outcome {
  try Program(command).wait(seconds: seconds)
}

/// Runs a program that must succeed; what it prints, without the last newline.
@discardableResult
func need(_ command: String..., seconds: Double = 60) throws -> String {
  let outcome = try Program(command).wait(seconds: seconds)
  guard outcome.succeeded else { throw ProgramFailed(description: outcome.description) }
  return outcome.output.last == "\n" ? String(outcome.output.dropLast()) : outcome.output
}
