import CLinux
import Glibc
import Logging
import Posix

/// A process on its way to become the new server of a device, between fork and its end. What it says to whoever forked it
/// are the lines of `StartMessage`.
struct RecoveryChild {
  let id: UInt32
  let directory: RunDirectory
  /// Taken before the fork.
  let lock: DeviceLock
  /// Seconds for the driver to notice the death of the last server, and to let a new one go on.
  let timeout: Int
  /// Whether a server that lives is asked to leave.
  let takesFromLiving: Bool

  /// One that was forked.
  struct Running: ~Copyable {
    let pid: pid_t
    /// Where it says what happens; the end comes with its own, or when its device is served.
    let news: Descriptor
  }

  /// Forks. The parent must have one thread.
  func start() throws(HostError) -> Running {
    var pipe = try HostError.describing("make a pipe") { () throws(Errno) in try Pipe() }
    let reading = pipe.reading.take()!
    let writing = pipe.writing.take()!.release()
    let child = clinux_fork()
    if child == 0 { run(writing) }
    let error = Errno.last
    close(writing)
    if child < 0 { throw .system(what: "start the server's process", error) }
    return Running(pid: child, news: reading)
  }

  private func run(_ pipe: Int32) -> Never {
    closeAllBut(pipe, lock.rawValue)
    setsid()
    _ = chdir("/")
    clinux_set_thread_name("warmblk")
    // What it says goes to a file, also where the watcher's goes to the journal.
    unsetenv("JOURNAL_STREAM")
    let log = Logger(label: "warmblk")
    do throws(HostError) {
      let signals = try SignalQueue()
      try redirect()
      LogOutput.listener.withLock { $0 = pipe }
      guard let state = try directory.state(id) else {
        // Taken away by force meanwhile, and these files came after that.
        _ = unlink(directory.logPath(id))
        _ = unlink(directory.lockPath(id))
        throw .refused("there is no device \(id)")
      }
      try RecoveryCheck.refuseUnlessFit(state, takesFromLiving: takesFromLiving)
      var options = try ServerOptions(restoring: state, directory, timeout: timeout)
      // A process in the background is not the one that somebody supervises.
      if options.keeper == .supervisor { options.keeper = .nobody }
      try Server(options, log).takeOver(state, lock, signals) { message throws(HostError) in
        // Nobody has to listen: the device has its server.
        var line = message.line
        line.withUTF8 { _ = write(pipe, $0.baseAddress, $0.count) }
        if case .ready = message {
          LogOutput.listener.withLock { $0 = nil }
          close(pipe)
        }
      }
    } catch {
      LogOutput.listener.withLock { $0 = nil }
      log.error("\(error)")
      var line = StartMessage.failed(error.description).line
      line.withUTF8 { _ = write(pipe, $0.baseAddress, $0.count) }
      _exit(1)
    }
    _exit(0)
  }

  /// What the parent has open is the parent's: its lock above all.
  private func closeAllBut(_ kept: Int32...) {
    var next: UInt32 = 3
    for descriptor in kept.sorted() where descriptor >= 3 {
      let number = UInt32(bitPattern: descriptor)
      if number > next { _ = clinux_close_range(next, number - 1) }
      next = number + 1
    }
    _ = clinux_close_range(next, .max)
  }

  /// Standard input and output to nowhere, standard error to the device's log, after what the last server said.
  private func redirect() throws(HostError) {
    let log = directory.logPath(id)
    try HostError.describing("open /dev/null") { () throws(Errno) in
      let null = try Descriptor.open("/dev/null", O_RDWR)
      for target in [Int32(0), 1] where dup2(null.rawValue, target) < 0 { throw .last }
    }
    try HostError.describing("open \(log)") { () throws(Errno) in
      let file = try Descriptor.open(log, O_WRONLY | O_CREAT | O_APPEND)
      if dup2(file.rawValue, 2) < 0 { throw .last }
    }
  }
}

/// What a record must say for its device to be taken over.
enum RecoveryCheck {
  static func refuseUnlessFit(_ state: DeviceState, takesFromLiving: Bool) throws(HostError) {
    if let problem = problem(state, server: state.server.status, takesFromLiving: takesFromLiving) {
      throw .refused(problem)
    }
  }

  /// Why the device is not taken over; nil when it can be.
  static func problem(_ state: DeviceState, server: ProcessStatus?, takesFromLiving: Bool) -> String? {
    let id = state.id
    if let server, !takesFromLiving {
      return server.isPaused
        ? "the server of device \(id) is stopped, not dead: `kill -CONT \(state.server.pid)` lets it go on"
        : "device \(id) has a server that lives (pid \(state.server.pid)): there is nothing to recover; "
          + "`warmblk upgrade -n \(id)` replaces it"
    }
    if let server, server.isPaused {
      return "the server of device \(id) is stopped: `kill -CONT \(state.server.pid)` lets it go on"
    }
    if state.phase == .starting {
      return server == nil
        ? "the server of device \(id) died before its disk was there: `warmblk del -n \(id)` removes what is left"
        : "device \(id) is just being made"
    }
    if state.keeper == .starter {
      return server == nil
        ? "the server of device \(id) died before the device was handed over: the `warmblk add` that waits for it takes it away; "
          + "if that is gone too, `warmblk del -n \(id)` does"
        : "the `warmblk add` of device \(id) waits for it to be warm: try again later"
    }
    if !state.features.isSuperset(of: .recovery) {
      return
        "device \(id) was made without recovery (the kernel has it from 6.1 on): `warmblk del -n \(id)` takes it away"
    }
    if !state.config.hasPrefix("/") {
      return "the record of device \(id) does not say what it is made of (\(state.config)): "
        + "`warmblk del -n \(id)` takes it away"
    }
    return nil
  }
}
