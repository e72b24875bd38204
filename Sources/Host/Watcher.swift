import CLinux
import Glibc
import Logging
import Posix

/// Starts a new server for each device of this machine whose server dies: `warmblk watch`. One process for all of them,
/// which ends with the last device that wants it.
///
/// It forks the new server out of itself, for that is the shortest way; where a device's program is another file than that of
/// the watcher by now, after an upgrade, that program is started.
public struct Watcher {
  /// Milliseconds between two looks at what nothing tells of.
  private static let interval: UInt64 = 1000
  /// Seconds that a new server has.
  private static let timeout = 60

  private let directory: RunDirectory
  private let log: Logger
  private var plan = WatchPlan()
  private var states: [UInt32: DeviceState] = [:]
  private var attempts: [UInt32: Attempt] = [:]
  /// Descriptors of the servers that live.
  private var servers: [ProcessIdentity: Int32] = [:]

  private struct Attempt {
    let pid: pid_t
    let news: Int32
    let deadline: Deadline
  }

  private init(_ directory: RunDirectory, _ log: Logger) {
    self.directory = directory
    self.log = log
  }

  /// Watches until no device is left that wants it, or until SIGTERM or SIGINT. At once when another process watches.
  ///
  /// Forks: the process must have one thread.
  public static func run(_ directory: RunDirectory) throws(HostError) {
    let log = Logger(label: "warmblk")
    let signals = try SignalQueue()
    clinux_set_thread_name(processName)
    enterFirstMounts(directory, log)
    ServerProcess.prepare(log)
    try directory.make()
    while true {
      guard let lock = try DeviceLock.attempt(directory.watchLockPath, "watch") else { return }
      var watcher = Watcher(directory, log)
      let isOver = try watcher.watch(signals)
      _ = unlink(directory.watchLogPath)
      _ = unlink(directory.watchLockPath)
      lock.release()
      // Who added a device before that has seen the lock, and relies on us.
      if isOver || watchedIDs(directory).isEmpty { return }
    }
  }

  /// The watcher's name among processes.
  public static let processName = "warmblk-watch"

  /// Whether a process watches.
  public static func isRunning(_ directory: RunDirectory) -> Bool { DeviceLock.isHeld(directory.watchLockPath) }

  /// The devices that want a watcher.
  static func watchedIDs(_ directory: RunDirectory) -> [UInt32] {
    ((try? directory.ids()) ?? []).filter { (try? directory.state($0))?.keeper == .watcher }
  }

  /// A watcher may outlive the shell, or the `unshare -m`, that it comes from: it must not keep that one's mounts. Where the
  /// first process of the machine has the same root folder its mount table is used, else the caller's.
  private static func enterFirstMounts(_ directory: RunDirectory, _ log: Logger) {
    var first = stat()
    var own = stat()
    guard stat("/proc/1/root/", &first) == 0, stat("/", &own) == 0, first.st_dev == own.st_dev,
      first.st_ino == own.st_ino, let table = try? Descriptor.open("/proc/1/ns/mnt")
    else { return }
    if clinux_enter_mounts(table.rawValue) != 0 {
      log.warning("the mount table of process 1 cannot be used: \(Errno.last); that of the caller is kept busy")
    }
    _ = chdir("/")
  }

  /// True when it was told to end, false when there is nothing left to watch.
  private mutating func watch(_ signals: borrowing SignalQueue) throws(HostError) -> Bool {
    let path = directory.path
    let changes = try HostError.describing("watch \(path)") { () throws(Errno) in
      Descriptor(owning: try retryingInterrupts { clinux_watch_folder(path) })
    }
    defer { for descriptor in servers.values { close(descriptor) } }
    var mustRead = true
    while true {
      if mustRead { readStates() }
      reap()
      let actions = plan.look(sightings(), at: Self.now)
      for action in actions { perform(action) }
      if states.isEmpty, attempts.isEmpty { return false }
      var entries = [signals.rawValue, changes.rawValue].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      entries += attempts.values.map { pollfd(fd: $0.news, events: Int16(POLLIN), revents: 0) }
      entries += servers.values.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      let patience = min(plan.patience(at: Self.now) ?? Self.interval, Self.interval)
      _ = poll(&entries, nfds_t(entries.count), Int32(clamping: patience))
      if signals.next() != nil { return true }
      mustRead = entries[1].revents != 0 && Self.namesState(changes)
      hear()
    }
  }

  private static var now: UInt64 { monotonicNanoseconds() / 1_000_000 }

  /// Whether one of the names that something happened to is that of a record.
  private static func namesState(_ changes: borrowing Descriptor) -> Bool {
    var found = false
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count = read(changes.rawValue, &buffer, buffer.count)
      if count <= 0 { return found }
      // `struct inotify_event`: i32 wd, u32 mask, u32 cookie, u32 bytes of the name, the name with NULs behind it. One
      // without a name is about the folder, or says that events were lost.
      buffer[..<count].withUnsafeBytes { bytes in
        var at = 0
        while at + 16 <= bytes.count {
          let length = Int(bytes.loadUnaligned(fromByteOffset: at + 12, as: UInt32.self))
          let name = String(decoding: bytes[(at + 16)...].prefix(length).prefix { $0 != 0 }, as: UTF8.self)
          if length == 0 || name.hasSuffix(".json") && UInt32(name.dropLast(5)) != nil { found = true }
          at += 16 + length
        }
      }
    }
  }

  private mutating func readStates() {
    var found: [UInt32: DeviceState] = [:]
    for id in (try? directory.ids()) ?? [] {
      do throws(HostError) {
        if let state = try directory.state(id), state.keeper == .watcher { found[id] = state }
      } catch {
        // One that was watched stays so as it was known: its server may live for long.
        log.warning("\(error)")
        found[id] = states[id]
      }
    }
    states = found
    let wanted = Set(found.values.map(\.server))
    for (server, descriptor) in servers where !wanted.contains(server) {
      close(descriptor)
      servers[server] = nil
    }
    for server in wanted where servers[server] == nil {
      let descriptor = clinux_pidfd_open(server.pid)
      if descriptor >= 0 { servers[server] = descriptor }
    }
  }

  private mutating func sightings() -> [WatchPlan.Sighting] {
    states.values.map { state in
      let isAlive = state.server.isAlive
      // A descriptor of a dead process would wake us for ever.
      if !isAlive, let descriptor = servers.removeValue(forKey: state.server) { close(descriptor) }
      return WatchPlan.Sighting(
        id: state.id, server: state.server, isAlive: isAlive,
        isBusy: !isAlive && attempts[state.id] == nil && DeviceLock.isHeld(directory.lockPath(state.id)))
    }
  }

  // MARK: Attempts

  private mutating func perform(_ action: WatchPlan.Action) {
    switch action {
    case .recover(let id): attempt(id)
    case .giveUp(let id, let deaths):
      say(
        id,
        "\(deaths) servers have died within a minute, or could not be started: the watcher leaves /dev/ublkb\(id) alone; "
          + "`warmblk recover -n \(id)` tries once more")
    }
  }

  private mutating func attempt(_ id: UInt32) {
    do throws(HostError) {
      guard let lock = try DeviceLock.attempt(directory.lockPath(id), "watch") else { return end(id, .busy) }
      // Whoever had the lock may have given it a server, or taken it away. The record tells, a little later.
      guard let state = try directory.state(id), !state.server.isAlive, state.keeper == .watcher else {
        if fileExists(directory.statePath(id)) { lock.release() } else { _ = unlink(directory.lockPath(id)) }
        readStates()
        return end(id, .busy)
      }
      let running =
        Self.isOwnProgram(state.program)
        ? try RecoveryChild(
          id: id, directory: directory, lock: lock, timeout: Self.timeout, takesFromLiving: false
        ).start()
        : try launch(state.program, id, lock)
      let deadline = Deadline(milliseconds: Self.timeout * 1000 + 10_000)
      attempts[id] = Attempt(pid: running.pid, news: dup(running.news.rawValue), deadline: deadline)
    } catch {
      say(id, "\(error)")
      end(id, .failed)
    }
  }

  /// Whether `path` is the file that this process runs.
  private static func isOwnProgram(_ path: String) -> Bool {
    var own = stat()
    var other = stat()
    guard stat("/proc/self/exe", &own) == 0, stat(path, &other) == 0 else { return true }
    return own.st_dev == other.st_dev && own.st_ino == other.st_ino
  }

  /// Has another program recover the device. It takes the lock itself.
  private func launch(_ program: String, _ id: UInt32, _ lock: DeviceLock) throws(HostError) -> RecoveryChild.Running {
    lock.release()
    var pipe = try HostError.describing("make a pipe") { () throws(Errno) in try Pipe() }
    let writing = pipe.writing.take()!
    let pid = try Self.spawn([program, "recover", "-n", "\(id)"], output: .descriptor(writing.rawValue), directory)
    return RecoveryChild.Running(pid: pid, news: pipe.reading.take()!)
  }

  /// Takes what attempts say, and ends those whose time is over.
  private mutating func hear() {
    for (id, attempt) in attempts {
      var entry = pollfd(fd: attempt.news, events: Int16(POLLIN), revents: 0)
      if poll(&entry, 1, 0) <= 0 {
        if attempt.deadline.hasPassed { kill(attempt.pid, SIGKILL) }
        continue
      }
      var buffer = [UInt8](repeating: 0, count: 4096)
      if read(attempt.news, &buffer, buffer.count) > 0 { continue }
      // The pipe is closed when the device is served, or when the process is gone.
      close(attempt.news)
      attempts[id] = nil
      readStates()
      let server = states[id]?.server
      end(id, server?.isAlive ?? true ? .recovered(by: server) : .failed)
    }
  }

  private mutating func end(_ id: UInt32, _ outcome: WatchPlan.Outcome) {
    if let action = plan.ended(id, outcome, at: Self.now) { perform(action) }
  }

  private func reap() {
    while waitpid(-1, nil, WNOHANG) > 0 {}
  }

  /// A line in the device's log, where whoever wonders looks.
  private func say(_ id: UInt32, _ text: String) {
    log.error("device \(id): \(text)")
    guard let file = try? Descriptor.open(directory.logPath(id), O_WRONLY | O_CREAT | O_APPEND) else { return }
    let line = Array((LineLogHandler.line(text, level: .error, time: time(nil)) + "\n").utf8)
    line.withUnsafeBytes { bytes in _ = try? file.writeFully(bytes) }
  }
}
