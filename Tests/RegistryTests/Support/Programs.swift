import Glibc
import Posix

/// A program that did not do what it was asked.
struct ProgramFailed: Error { let command: [String], status: Int32, output: String }

/// Starts a program of the PATH; what it prints goes to `log`.
func spawn(_ command: [String], log: String = "/dev/null") throws -> pid_t {
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
  posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
  posix_spawn_file_actions_adddup2(&actions, 1, 2)
  var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
  defer { arguments.forEach { free($0) } }
  var pid: pid_t = 0
  guard posix_spawnp(&pid, command[0], &actions, nil, &arguments, environ) == 0 else {
    throw ProgramFailed(command: command, status: -1, output: "")
  }
  return pid
}

/// Runs a program of the PATH to its end.
func run(_ command: [String], log: String = "/dev/null") throws {
  let pid = try spawn(command, log: log)
  var status: Int32 = 0
  while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  guard status == 0 else {
    let output = (try? readFile(log)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    throw ProgramFailed(command: command, status: status, output: output)
  }
}

/// Whether a program is on the PATH, or in a folder of the administrator's.
func hasProgram(_ name: String) -> Bool {
  let folders = (getenv("PATH").map { String(cString: $0) } ?? "").split(separator: ":").map(String.init)
  return (folders + ["/usr/sbin", "/sbin"]).contains { access("\($0)/\(name)", X_OK) == 0 }
}
