import Device
import Glibc
import Posix

/// One run of a command on a throw-away device, of which all that is read is recorded: `warmblk optimize`.
public struct Trial {
  /// What to run on what, and until when.
  public struct Options: Sendable {
    /// The device. What is read of it is recorded to its `recordPath`.
    public var server: ServerOptions
    /// The command.
    public var workload: WorkloadOptions
    /// Milliseconds after which the command is ended.
    public var durationMax: Int
    /// The command is ended when nothing was read for the first time for so many milliseconds; nil: not by that.
    public var idleMax: Int?
    /// Seconds that making the device may take, and taking it away.
    public var timeout: Int

    /// All options.
    public init(
      server: ServerOptions, workload: WorkloadOptions, durationMax: Int, idleMax: Int? = nil, timeout: Int = 30
    ) {
      self.server = server
      self.workload = workload
      self.durationMax = durationMax
      self.idleMax = idleMax
      self.timeout = timeout
    }
  }

  /// Why the recording has ended.
  public enum End: Equatable, Sendable {
    /// The command has ended by itself.
    case exit
    /// The command had its time.
    case time
    /// Nothing new was read for a while.
    case idle
    /// The trace has all the bytes that it may have, or the device is gone.
    case recording
    /// SIGINT or SIGTERM.
    case signal(Int32)

    /// For people; nil when the command's status, or the recording's report, says it all.
    public var words: String? {
      switch self {
      case .exit, .recording: nil
      case .time: "its time was over"
      case .idle: "nothing new was read for a while"
      case .signal(let number): "signal \(number) came"
      }
    }
  }

  /// What became of it.
  public struct Outcome: Sendable {
    /// What was recorded; nil when a signal came before the command was started.
    public var report: RecordingReport?
    /// Why the recording has ended.
    public var end: End
    /// How the command has ended; nil when it was not started.
    public var status: CommandStatus?
    /// Milliseconds that it ran while it was recorded.
    public var milliseconds: UInt64 = 0
  }

  /// Milliseconds between two looks at the recording.
  private static let interval = 50

  private let options: Options
  private let note: (String) -> Void
  private var directory: RunDirectory { options.server.directory }

  /// `note` gets what the user should know beside the outcome.
  public init(_ options: Options, note: @escaping (String) -> Void) {
    self.options = options
    self.note = note
  }

  /// Makes the device, runs the command, and returns when the device is gone. Whatever is thrown, it is gone as well, or the
  /// message says why not. SIGINT and SIGTERM end the recording and are no failure.
  ///
  /// Forks: the process must have one thread.
  public func run() throws(HostError) -> Outcome {
    let signals = try SignalQueue()
    defer {
      // One that came too late to change anything must not end what is done with the trace.
      while signals.next() != nil {}
      signals.release()
    }
    var server = options.server
    server.endsWithParent = true
    let background = BackgroundServer(server, timeout: options.timeout, cancelDescriptor: signals.rawValue)
    let id: UInt32
    do throws(HostError) {
      id = try background.start { news in if case .warning(let text) = news { note(text) } }
    } catch {
      guard let signal = signals.next() else { throw error }
      return Outcome(end: .signal(signal))
    }
    let outcome: Outcome
    do throws(HostError) { outcome = try record(id, signals) } catch {
      do throws(HostError) { try remove(id) } catch let second { note("\(second)") }
      throw error
    }
    try remove(id)
    return outcome
  }

  private func record(_ id: UInt32, _ signals: borrowing SignalQueue) throws(HostError) -> Outcome {
    let began = monotonicNanoseconds()
    let workload = try Workload.start(options.workload, device: "/dev/ublkb\(id)")
    let end = watch(workload, id, signals)
    let milliseconds = (monotonicNanoseconds() - began) / 1_000_000
    // Before the command is ended: what it reads to end is not what it reads to start.
    let report: Result<RecordingReport, HostError>
    do throws(HostError) {
      report = .success(try Recording.stop(id, directory, timeout: options.timeout))
    } catch {
      report = .failure(error)
    }
    let status = try workload.end { signals.next() != nil }
    return Outcome(report: try report.get(), end: end, status: status, milliseconds: milliseconds)
  }

  /// Until the first of the things that end a recording.
  private func watch(_ workload: borrowing Workload, _ id: UInt32, _ signals: borrowing SignalQueue) -> End {
    let deadline = Deadline(milliseconds: options.durationMax)
    let server = (try? directory.state(id))?.server
    var entries = [pollfd(fd: signals.rawValue, events: Int16(POLLIN), revents: 0), workload.pollEntry]
    var accesses: UInt64 = 0
    var lastRead = monotonicNanoseconds()
    while true {
      _ = poll(&entries, 2, Int32(clamping: min(UInt64(Self.interval), deadline.remaining / 1_000_000 + 1)))
      if let signal = signals.next() { return .signal(signal) }
      if entries[1].revents != 0 { return .exit }
      if deadline.hasPassed { return .time }
      guard server?.isAlive ?? false, let counters = try? CounterPage.read(directory.countersPath(id)),
        let recording = counters.recording
      else { return .recording }
      let now = monotonicNanoseconds()
      // The command's own silence counts, not that before it.
      if recording.accesses != accesses || !workload.hasBegun { lastRead = now }
      accesses = recording.accesses
      if let limit = options.idleMax, now - lastRead >= UInt64(limit) * 1_000_000 { return .idle }
    }
  }

  /// Takes the device away, by force from those whom the command has left behind.
  private func remove(_ id: UInt32) throws(HostError) {
    var removal = Removal.Options(timeout: options.timeout)
    do throws(HostError) { return try Removal(id, directory, removal, note: note).run() } catch {
      note("\(error); taking it away all the same")
    }
    removal.isForced = true
    try Removal(id, directory, removal, note: note).run()
  }
}
