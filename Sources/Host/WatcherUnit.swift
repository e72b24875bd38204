import Glibc
import Posix

/// The watcher as a unit of systemd: it shall outlive the command that starts it, whose control group ends with the session
/// or the service that it is in.
struct WatcherUnit {
  /// What is there where systemd runs the machine: sd_booted(3).
  var marker = "/run/systemd/system"
  /// Folders where programs are, as `PATH` has them.
  var searchPath = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
  /// Milliseconds for systemd-run to end, and for the watcher to be there.
  var patience = 5000

  /// The program that starts units; nil where there is no systemd, and nothing to start.
  var runner: String? {
    guard fileExists(marker) else { return nil }
    return searchPath.split(separator: ":").lazy.map { "\($0)/systemd-run" }.first {
      $0.hasPrefix("/") && access($0, X_OK) == 0
    }
  }

  /// What systemd-run is given to run `command`. Servers that the watcher starts are in its unit, and stay when it ends.
  /// They find what the command that starts it finds: credential helpers among others.
  static func words(for command: [String], environment: (String) -> String?) -> [String] {
    ["--unit=warmblk-watch", "--collect", "--quiet", "--description=New servers for block devices of warmblk"]
      + ["KillMode=process", "TasksMax=infinity"].map { "--property=\($0)" }
      + ["PATH", "HOME", "WARMBLK_RUN", "WARMBLK_LOG_LEVEL"].compactMap { name in
        environment(name).map { "--setenv=\(name)=\($0)" }
      } + ["--"] + command
  }

  /// Starts the watcher with `runner`; why that has not worked, or nil when it watches, or another one.
  func start(_ runner: String, _ command: [String], _ directory: RunDirectory) throws(HostError) -> String? {
    var pipe = try HostError.describing("make a pipe") { () throws(Errno) in try Pipe() }
    let reading = pipe.reading.take()!
    let deadline = Deadline(milliseconds: patience)
    var status: Int32 = 0
    let words = Self.words(for: command) { name in getenv(name).map { String(cString: $0) } }
    let pid: pid_t
    do {
      let writing = pipe.writing.take()!
      let both = Spawn.Stream.descriptor(writing.rawValue)
      pid = try Watcher.spawn([runner] + words, output: both, errors: both, directory)
    }
    var said: [String] = []
    var lines = LineReader(reading.rawValue)
    while let line = lines.next(deadline) { said.append(line) }
    let hasEnded = deadline.wait(interval: 2) { waitpid(pid, &status, WNOHANG) == pid }
    if !hasEnded {
      kill(pid, SIGKILL)
      _ = Deadline(milliseconds: 1000).wait(interval: 2) { waitpid(pid, nil, WNOHANG) == pid }
    }
    // Of two who start it at once one is refused, and one watcher is enough.
    let isWatched = Deadline(milliseconds: hasEnded && status == 0 ? patience : 1000).wait(interval: 2) {
      Watcher.isRunning(directory)
    }
    if isWatched { return nil }
    if !hasEnded { return "\(runner) has not ended within \(patience) ms" }
    if status == 0 { return "the unit does not watch after \(patience) ms; see `journalctl -u warmblk-watch`" }
    return "\(runner) failed: \(said.isEmpty ? "without a word" : said.joined(separator: " "))"
  }
}

extension Watcher {
  /// Sees to it that a process watches. `note` gets what the user should know beside that.
  public static func ensure(_ directory: RunDirectory, note: (String) -> Void) throws(HostError) {
    try ensure(directory, unit: WatcherUnit(), [ServerProcess.program, "watch"], note: note)
  }

  /// The same if there is a device that wants it.
  public static func ensureIfWanted(_ directory: RunDirectory, note: (String) -> Void) throws(HostError) {
    if !watchedIDs(directory).isEmpty { try ensure(directory, note: note) }
  }

  static func ensure(
    _ directory: RunDirectory, unit: WatcherUnit, _ command: [String], note: (String) -> Void
  ) throws(HostError) {
    if isRunning(directory) { return }
    if let runner = unit.runner {
      guard let problem = try unit.start(runner, command, directory) else { return }
      note("the watcher is not a unit of systemd, and ends with the control group of this command: \(problem)")
    }
    _ = try spawn(command, directory)
  }

  /// Starts a program that outlives the session of who calls, with its errors in the watcher's log.
  static func spawn(
    _ command: [String], output: Spawn.Stream = .nothing, errors: Spawn.Stream? = nil, _ directory: RunDirectory
  ) throws(HostError) -> pid_t {
    try HostError.describing("start \(command[0])") { () throws(Errno) in
      try Spawn.start(command, output: output, errors: errors ?? .end(of: directory.watchLogPath), .session)
    }
  }
}
