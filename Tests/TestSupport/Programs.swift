import Glibc
import Posix

/// A program that did not do what it was asked.
public struct ProgramFailed: Error {
  /// With its arguments.
  public let command: [String]
  /// As `waitpid(2)` has it; -1 if there is no such program.
  public let status: Int32
}

/// Runs a program of the PATH and returns what it prints.
@discardableResult
public func runProgram(_ command: [String]) throws -> [UInt8] {
  var pipe = try Pipe()
  let writing = pipe.writing.take()!
  let reading = pipe.reading.take()!
  let pid: pid_t
  do throws(Errno) {
    pid = try Spawn.start(command, output: .descriptor(writing.rawValue), errors: .descriptor(2), .process)
  } catch {
    throw ProgramFailed(command: command, status: -1)
  }
  _ = consume writing
  var output: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = try chunk.withUnsafeMutableBytes { try reading.read(into: $0) }
    if count == 0 { break }
    output += chunk[..<count]
  }
  var status: Int32 = 0
  waitpid(pid, &status, 0)
  guard status == 0 else { throw ProgramFailed(command: command, status: status) }
  return output
}
