import CLinux
import Glibc

/// Programs that run on their own: with nothing open but the three streams that they are given, and with signals as a shell
/// has them.
public enum Spawn {
  /// What a program has for one of its three streams.
  public enum Stream: Sendable {
    /// `/dev/null`.
    case nothing
    /// An open descriptor, for any of the three.
    case descriptor(Int32)
    /// The end of a file, which is made if it is not there. For output only.
    case end(of: String)
  }

  /// Whom it is with when a terminal or a supervisor sends signals to all of a group.
  public enum Group: Sendable {
    /// With nobody, in the same session.
    case process
    /// With nobody, in a session of its own.
    case session
  }

  /// Starts `program`, by default `command[0]`, looked for in `PATH` if it has no slash, with all of `command` as its words. Who
  /// calls waits for its end.
  public static func start(
    _ command: [String], program: String? = nil, input: Stream = .nothing, output: Stream = .nothing,
    errors: Stream = .nothing, _ group: Group
  ) throws(Errno) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (number, stream) in [input, output, errors].enumerated() {
      switch stream {
      case .nothing: posix_spawn_file_actions_addopen(&actions, Int32(number), "/dev/null", O_RDWR, 0)
      case .descriptor(let descriptor): posix_spawn_file_actions_adddup2(&actions, descriptor, Int32(number))
      case .end(let path):
        posix_spawn_file_actions_addopen(&actions, Int32(number), path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
      }
    }
    clinux_spawn_close_from(&actions, 3)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setpgroup(&attributes, 0)
    // POSIX_SPAWN_SETSID, glibc 2.26, which _GNU_SOURCE guards.
    let newGroup = group == .session ? 0x80 : Int16(POSIX_SPAWN_SETPGROUP)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) | newGroup)
    var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { words.forEach { free($0) } }
    var pid: pid_t = 0
    let error = posix_spawnp(&pid, program ?? command[0], &actions, &attributes, &words, environ)
    if error != 0 { throw Errno(rawValue: error) }
    return pid
  }
}
