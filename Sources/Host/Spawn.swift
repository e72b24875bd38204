import CLinux
import Glibc
import Posix

/// Programs that run on their own: in a session of their own, with nothing open but what they are given.
enum Spawn {
  /// Starts a program with standard output in `output`, or nowhere when that is -1, and standard error in `errors`, or in the
  /// watcher's log.
  static func start(
    _ command: [String], output: Int32 = -1, errors: Int32 = -1, _ directory: RunDirectory
  ) throws(HostError) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    if output >= 0 {
      posix_spawn_file_actions_adddup2(&actions, output, 1)
    } else {
      posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    }
    if errors >= 0 {
      posix_spawn_file_actions_adddup2(&actions, errors, 2)
    } else {
      posix_spawn_file_actions_addopen(&actions, 2, directory.watchLogPath, O_WRONLY | O_CREAT | O_APPEND, 0o644)
    }
    clinux_spawn_close_from(&actions, 3)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    // POSIX_SPAWN_SETSID, glibc 2.26, which _GNU_SOURCE guards.
    let newSession: Int16 = 0x80
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | newSession)
    var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { words.forEach { free($0) } }
    var pid: pid_t = 0
    let error = posix_spawn(&pid, command[0], &actions, &attributes, &words, environ)
    if error != 0 { throw .system(what: "start \(command[0])", Errno(rawValue: error)) }
    return pid
  }
}
