import CLinux
import Glibc
import Logging
import Posix
import Ublk

/// What a server says while its device is made.
public enum StartNews: Sendable {
  /// Something to know, not an obstacle.
  case warning(String)
  /// Something to know that is as it should be.
  case note(String)
  /// So many bytes of so many are at hand.
  case progress(done: UInt64, total: UInt64)
  /// All of these are; so many bytes of so many are in the page cache.
  case filling(done: UInt64, total: UInt64)
  /// What is at hand, in one line.
  case warmed(String)
}

/// Starts a device's server in the background and waits until the device can be used.
public struct BackgroundServer {
  private var options: ServerOptions
  /// Seconds until the attempt is given up.
  private let timeout: Int
  /// Readable when nobody wants the device any more; -1 for none.
  private let cancelDescriptor: Int32

  /// `timeout`: seconds until the attempt is given up. It is given up as well when `cancelDescriptor`, unless that is -1,
  /// can be read.
  public init(_ options: ServerOptions, timeout: Int, cancelDescriptor: Int32 = -1) {
    self.options = options
    self.options.hasStarter = true
    self.timeout = timeout
    self.cancelDescriptor = cancelDescriptor
  }

  /// Returns the device's number once it can be used. `tell` gets what the server says until then. If it throws, the server is
  /// gone and nothing is left; the image's resultFile says what happened either way.
  ///
  /// Forks: the process must have one thread.
  public func start(tell: (StartNews) -> Void) throws(HostError) -> UInt32 {
    let result = options.config.resultFile.map { ResultFile(path: $0) }
    do throws(HostError) {
      let id = try startServer(tell)
      try result?.write(failure: nil)
      return id
    } catch {
      try? result?.write(failure: error.description)
      throw error
    }
  }

  private func startServer(_ tell: (StartNews) -> Void) throws(HostError) -> UInt32 {
    try options.directory.make()
    var pipe = try HostError.describing("make a pipe") { () throws(Errno) in try Pipe() }
    let reading = pipe.reading.take()!
    let writing = pipe.writing.take()!.release()
    let parent = getpid()
    let child = clinux_fork()
    if child == 0 {
      // With our copy open the pipe would not tell us that the command has gone.
      close(reading.rawValue)
      BackgroundChild(options: options, parent: parent).run(writing)
    }
    close(writing)
    if child < 0 { throw .system(what: "start the server's process", .last) }
    var deadline = Deadline(milliseconds: timeout * 1000)
    // While it is not reaped its number is nobody else's, so its start time can be asked for now.
    let server = ProcessStatus.read(child).map { ProcessIdentity(pid: child, startTime: $0.startTime) }
    var failure: String?
    var lines = LineReader(reading.rawValue, cancelDescriptor: cancelDescriptor)
    while let line = lines.next(deadline) {
      switch StartMessage(parsing: line) {
      case .ready(let id): return id
      case .warning(let text): tell(.warning(text))
      case .note(let text): tell(.note(text))
      // It gets on, and ends by itself.
      case .progress(let done, let total):
        deadline = Deadline(milliseconds: timeout * 1000)
        tell(.progress(done: done, total: total))
      case .filling(let done, let total):
        deadline = Deadline(milliseconds: timeout * 1000)
        tell(.filling(done: done, total: total))
      case .warmed(let text): tell(.warmed(text))
      case .failed(let text): failure = text
      case nil: tell(.warning(line))
      }
    }
    if lines.isCancelled {
      failure = "cancelled before the device was ready"
      // While it makes the device it does not listen, but then it takes it away again.
      kill(child, SIGTERM)
    }
    let status = end(child, graceMilliseconds: failure == nil ? 0 : 5000)
    // The state file tells of a device as soon as the driver has made it, whatever the server could still say.
    let left = server.flatMap { options.directory.state(of: $0) }
    let reason = failure ?? explain(status, child, left?.id, timedOut: deadline.hasPassed)
    let leftover = cleanUp(child, left)
    throw .refused(leftover.map { "\(reason); \($0)" } ?? reason)
  }

  /// Ends the server if it does not end by itself within the grace; its wait status, or nil when even SIGKILL does
  /// not end it.
  private func end(_ child: pid_t, graceMilliseconds: Int) -> Int32? {
    var status: Int32 = 0
    let reap = { waitpid(child, &status, WNOHANG) == child }
    // A server that closed its pipe is just about to end.
    if Deadline(milliseconds: max(graceMilliseconds, 20)).wait(interval: 1, until: reap) { return status }
    kill(child, SIGKILL)
    return Deadline(milliseconds: 5000).wait(interval: 1, until: reap) ? status : nil
  }

  private func explain(_ status: Int32?, _ child: pid_t, _ id: UInt32?, timedOut: Bool) -> String {
    let log = id.map { options.directory.logPath($0) } ?? options.directory.earlyLogPath(child)
    let words = (try? readFile(log, limit: 1 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    let last = words.split(separator: "\n").last.map { "; its last message: \($0)" } ?? ""
    if timedOut { return "the device was not ready within \(timeout) s; --timeout allows more\(last)" }
    guard let status else { return "the server's process does not end\(last)" }
    let signal = status & 0x7f
    return signal == 0
      ? "the server ended with status \(status >> 8 & 0xff) without a word\(last)"
      : "the server was ended by signal \(signal) (\(String(cString: strsignal(signal))))\(last)"
  }

  /// Removes what a server that could not clean up has left; what could not be removed, as a sentence.
  private func cleanUp(_ child: pid_t, _ left: DeviceState?) -> String? {
    let directory = options.directory
    _ = unlink(directory.earlyLogPath(child))
    guard let left else { return nil }
    if left.server.isAlive { return "device \(left.id) is left behind with it: see `warmblk list`" }
    do throws(UblkError) {
      try Control(deadline: Deadline(milliseconds: 5000)).deleteAfterServer(left.id, mark: left.mark)
    } catch {
      if error.errno != .noDevice { return "device \(left.id) is left behind: \(error)" }
    }
    try? directory.remove(left.id, server: left.server)
    return nil
  }
}

/// The server's side of `BackgroundServer`, between fork and the end of the process.
struct BackgroundChild {
  let options: ServerOptions
  /// The process that asked for the device.
  let parent: pid_t

  func run(_ pipe: Int32) -> Never {
    setsid()
    // The directory where `add` was called must not stay busy; all paths are absolute by now.
    _ = chdir("/")
    // What it says goes to a file.
    unsetenv("JOURNAL_STREAM")
    let log = Logger(label: "warmblk")
    do throws(HostError) {
      let signals = try SignalQueue()
      if options.endsWithParent { try followParent() }
      try redirect()
      LogOutput.listener.withLock { $0 = pipe }
      try Server(options, log).run(signals) { message throws(HostError) in
        try send(message, pipe)
        // From here on warnings are for the log file only.
        if case .ready = message { close(pipe) }
      }
    } catch {
      LogOutput.listener.withLock { $0 = nil }
      log.error("\(error)")
      try? send(.failed(error.description), pipe)
      _ = unlink(options.directory.earlyLogPath(getpid()))
      _exit(1)
    }
    _exit(0)
  }

  /// SIGTERM from the kernel at the parent's end, of which a killed one says nothing.
  private func followParent() throws(HostError) {
    if clinux_prctl(CLINUX_PR_SET_PDEATHSIG, UInt(SIGTERM)) != 0 { throw .system(what: "PR_SET_PDEATHSIG", .last) }
    if getppid() != parent { throw .refused("the command that asked for the device has gone away") }
  }

  private func close(_ pipe: Int32) {
    LogOutput.listener.withLock { $0 = nil }
    Glibc.close(pipe)
  }

  /// Standard input and output to nowhere, standard error to a file.
  private func redirect() throws(HostError) {
    let log = options.directory.earlyLogPath(getpid())
    try HostError.describing("open /dev/null") { () throws(Errno) in
      let null = try Descriptor.open("/dev/null", O_RDWR)
      for target in [Int32(0), 1] where dup2(null.rawValue, target) < 0 { throw .last }
    }
    try HostError.describing("open \(log)") { () throws(Errno) in
      let file = try Descriptor.open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND)
      if dup2(file.rawValue, 2) < 0 { throw .last }
    }
  }

  private func send(_ message: StartMessage, _ pipe: Int32) throws(HostError) {
    var line = message.line
    let count = line.withUTF8 { write(pipe, $0.baseAddress, $0.count) }
    if count < 0 { throw .refused("the command that asked for the device has gone away") }
  }
}

/// Lines from a pipe, with a deadline.
struct LineReader {
  private let descriptor: Int32
  private let cancelDescriptor: Int32
  /// Whether `next` has ended because the other descriptor could be read.
  private(set) var isCancelled = false
  private var pending: [UInt8] = []
  private var atEnd = false

  /// `cancelDescriptor`: what ends the waiting as well when it can be read; -1 for nothing.
  init(_ descriptor: Int32, cancelDescriptor: Int32 = -1) {
    self.descriptor = descriptor
    self.cancelDescriptor = cancelDescriptor
  }

  /// The next line without its newline; nil at the end, when the deadline has come, or when it is cancelled.
  mutating func next(_ deadline: Deadline) -> String? {
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        let line = String(decoding: pending[..<end], as: UTF8.self)
        pending.removeFirst(end + 1)
        return line
      }
      if atEnd || deadline.hasPassed { return nil }
      var entries = [descriptor, cancelDescriptor].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      guard poll(&entries, 2, Int32(clamping: deadline.remaining / 1_000_000 + 1)) > 0 else { continue }
      if entries[1].revents != 0 {
        isCancelled = true
        return nil
      }
      var chunk = [UInt8](repeating: 0, count: 4096)
      let count = read(descriptor, &chunk, chunk.count)
      if count > 0 { pending += chunk[..<count] } else { atEnd = count == 0 || errno != EINTR }
    }
  }
}
