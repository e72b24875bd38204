import Glibc
import Posix
import Synchronization

/// Reads ranges of a device into its page cache, and holds the disk open so that they stay there: the kernel drops the
/// pages of a block device when the last one who has it open closes it.
///
/// A process of its own does both (``DiskHolder``), and a thread here listens to it. Who closes a disk as the last one waits,
/// uninterruptibly, for the reads of it that are under way. A server that dies must not come to that before it has let go of
/// the device's other side, and both its descriptors and its memory, into which the driver's file is mapped, may be let go
/// last by the thread that closes the disk.
public final class HeldDisk: Sendable {
  /// How far the filling is.
  public struct Progress: Sendable, Equatable {
    /// Bytes of the disk that are wanted.
    public var wantedBytes: UInt64 = 0
    /// Of these, bytes that were read.
    public var filledBytes: UInt64 = 0
    /// Of these, bytes that could not be read.
    public var failedBytes: UInt64 = 0
    /// Milliseconds that it took.
    public var milliseconds: UInt64 = 0
    /// Whether it has begun.
    public var hasBegun = false
    /// Whether nothing more will be read.
    public var isOver = false
    /// Whether the disk is held open.
    public var isHeld = false
    /// What failed last; nil when nothing did.
    public var lastError: Errno?

    /// Before it has begun.
    public init() {}

    /// Whether all that is wanted was read.
    public var isFilled: Bool { isOver && filledBytes == wantedBytes }
  }

  private struct State {
    var progress = Progress()
    var isReleased = false
    /// To the process; nil while there is none.
    var channel: Int32?
  }

  private let path: String
  private let program: String
  private let state = Mutex(State())
  private let hasEnded = OneShot<Bool>()

  /// Of the device at `path`, by the file `program`: `warmblk`, or what does the same when it is called `hold-disk PATH`.
  /// Nothing is held so far.
  init(path: String, program: String) {
    self.path = path
    self.program = program
  }

  /// How far it is.
  public var progress: Progress { state.withLock { $0.progress } }

  /// Starts to read `ranges`, once; then the disk is held until ``release(_:)``, if anything could be read. `change`, an event
  /// descriptor that outlives this object, is written when that has ended. Does nothing after ``release(_:)``.
  public func fill(_ ranges: [Range<UInt64>], change: Int32) throws(Errno) {
    try start(DiskHolder.Order(ranges: ranges, holdsAnyway: false), change)
  }

  /// Holds the disk without reading anything, until ``release(_:)``: what others have read into its page cache stays from
  /// here on. Otherwise as ``fill(_:change:)``.
  public func hold() throws(Errno) { try start(DiskHolder.Order(ranges: [], holdsAnyway: true), -1) }

  private func start(_ order: DiskHolder.Order, _ change: Int32) throws(Errno) {
    let isFirst = state.withLock { state in
      if state.isReleased || state.progress.hasBegun { return false }
      state.progress.hasBegun = true
      state.progress.wantedBytes = order.ranges.reduce(0) { $0 + UInt64($1.count) }
      return true
    }
    guard isFirst else { return }
    do throws(Errno) {
      try Posix.Thread(name: "held-disk") { [self] in
        do throws(Errno) { try run(order, change) } catch { end(change, error) }
        state.withLock { $0.progress.isHeld = false }
        hasEnded.set(true)
      }.detach()
    } catch {
      end(change, error)
      hasEnded.set(true)
      throw error
    }
  }

  /// Ends the reading and closes the disk. False when that was not done before the deadline: its process then waits for a
  /// read, and closes the disk when that ends. May be called from any thread, and again.
  public func release(_ deadline: Deadline) -> Bool {
    let hasBegun = state.withLock { state in
      state.isReleased = true
      if let channel = state.channel { shutdown(channel, Int32(SHUT_WR)) }
      return state.progress.hasBegun
    }
    return !hasBegun || hasEnded.wait(deadline) != nil
  }

  // MARK: Its thread

  /// Starts the process and listens to it until it has ended, and with that closed the disk.
  private func run(_ order: DiskHolder.Order, _ change: Int32) throws(Errno) {
    var pair = try SocketPair()
    let channel = pair.first.take()!
    let process = try launch(pair.second.take()!)
    let isWanted = state.withLock { state in
      if !state.isReleased { state.channel = channel.rawValue }
      return !state.isReleased
    }
    if isWanted {
      NumberChannel.send(order.numbers, channel.rawValue)
    } else {
      shutdown(channel.rawValue, Int32(SHUT_WR))
    }
    var isOver = false
    while let numbers = NumberChannel.receive(DiskHolder.Report.count, channel.rawValue) {
      let report = DiskHolder.Report(numbers)
      state.withLock { $0.progress.take(report) }
      if report.isOver, !isOver {
        isOver = true
        end(change, nil)
      }
    }
    while waitpid(process, nil, 0) < 0, errno == EINTR {}
    state.withLock { $0.channel = nil }
    if !isOver { throw state.withLock(\.isReleased) ? .canceled : .brokenPipe }
  }

  private func launch(_ channel: consuming Descriptor) throws(Errno) -> pid_t {
    let stream = Spawn.Stream.descriptor(channel.rawValue)
    return try Spawn.start(
      ["warmblk", DiskHolder.command, path], program: program, input: stream, output: stream, .process)
  }

  private func end(_ change: Int32, _ error: Errno?) {
    state.withLock { state in
      state.progress.isOver = true
      if let error { state.progress.lastError = error }
    }
    if change < 0 { return }
    var one: UInt64 = 1
    _ = write(change, &one, 8)
  }
}

extension HeldDisk.Progress {
  fileprivate mutating func take(_ report: DiskHolder.Report) {
    filledBytes = report.filledBytes
    failedBytes = report.failedBytes
    milliseconds = report.milliseconds
    isHeld = report.isHeld
    lastError = report.lastError
  }
}
