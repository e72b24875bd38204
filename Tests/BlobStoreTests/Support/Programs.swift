import Glibc
import Posix

/// Writes `bytes` at `offset` of a file that is there.
func overwrite(_ path: String, at offset: UInt64, _ bytes: [UInt8]) throws {
  let file = try Descriptor.open(path, O_WRONLY)
  try bytes.withUnsafeBytes { buffer in try file.writeFully(buffer, at: offset) }
}

/// A program that did not do what it was asked.
struct ProgramFailed: Error { let command: [String], status: Int32 }

/// Runs a program of the PATH to its end.
func run(_ command: [String]) throws {
  var status: Int32 = 0
  waitpid(try spawn(command), &status, 0)
  guard status == 0 else { throw ProgramFailed(command: command, status: status) }
}

/// Starts a program of the PATH, with `output` as its standard output.
func spawn(_ command: [String], output: Int32 = 2) throws -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_adddup2(&actions, output, 1)
  var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
  defer { arguments.forEach { free($0) } }
  var pid: pid_t = 0
  guard posix_spawnp(&pid, command[0], &actions, nil, &arguments, environ) == 0 else {
    throw ProgramFailed(command: command, status: -1)
  }
  return pid
}
