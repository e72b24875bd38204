import CLinux
import Glibc
import Posix
import Synchronization

/// Reads ranges of a device into its page cache, and holds the disk open so that they stay there: the kernel drops the
/// pages of a block device when the last one who has it open closes it.
///
/// A thread of its own does both. It has the disk in a table of descriptors of its own as well, apart from that of the
/// process: who closes a disk as the last one waits, uninterruptibly, for the reads of it that are under way. A process that
/// dies must not come to that before it has closed the device's other side, and nobody promises the order in one table.
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
  }

  /// Bytes of a read; also what may be lost of a fill that is told to end.
  private static let stepBytes = 128 << 10
  /// Bytes that are read ahead of the step whose turn it is: what is under way, and what it has in memory but pages.
  private static let aheadMax = 1 << 20
  /// Reads that fail one after the other before the rest is given up: the disk does not answer any more.
  private static let failuresMax = 4

  private let path: String
  private let state = Mutex(State())
  private let letGo = OneShot<Bool>()
  private let hasEnded = OneShot<Bool>()

  /// Of the device at `path`. Nothing is held so far.
  init(path: String) { self.path = path }

  /// How far it is.
  public var progress: Progress { state.withLock { $0.progress } }

  /// Starts to read `ranges`, once; then the disk is held until ``release(_:)``, if anything could be read. `change`, an event
  /// descriptor that outlives this object, is written when that has ended. Does nothing after ``release(_:)``.
  public func fill(_ ranges: [Range<UInt64>], change: Int32) throws(Errno) {
    try start(ranges, change, holdsAnyway: false)
  }

  /// Holds the disk without reading anything, until ``release(_:)``: what others have read into its page cache stays from
  /// here on. Otherwise as ``fill(_:change:)``.
  public func hold() throws(Errno) { try start([], -1, holdsAnyway: true) }

  private func start(_ ranges: [Range<UInt64>], _ change: Int32, holdsAnyway: Bool) throws(Errno) {
    let isFirst = state.withLock { state in
      if state.isReleased || state.progress.hasBegun { return false }
      state.progress.hasBegun = true
      state.progress.wantedBytes = ranges.reduce(0) { $0 + UInt64($1.count) }
      return true
    }
    guard isFirst else { return }
    do throws(Errno) {
      try Posix.Thread(name: "held-disk") { [self] in
        do throws(Errno) { try hold(ranges, change, holdsAnyway) } catch { end(change, error) }
        state.withLock { $0.progress.isHeld = false }
        hasEnded.set(true)
      }.detach()
    } catch {
      end(change, error)
      hasEnded.set(true)
      throw error
    }
  }

  /// Ends the reading and closes the disk. False when that was not done before the deadline: it then waits for a read, and
  /// closes the disk when that ends. May be called from any thread, and again.
  public func release(_ deadline: Deadline) -> Bool {
    let hasBegun = state.withLock { state in
      state.isReleased = true
      return state.progress.hasBegun
    }
    letGo.set(true)
    return !hasBegun || hasEnded.wait(deadline) != nil
  }

  // MARK: Its thread

  private func hold(_ ranges: [Range<UInt64>], _ change: Int32, _ holdsAnyway: Bool) throws(Errno) {
    if clinux_own_descriptors(change) != 0 { throw .last }
    let disk = try Descriptor.open(path)
    state.withLock { $0.progress.isHeld = true }
    fill(disk, ranges)
    end(change, nil)
    if !holdsAnyway, progress.filledBytes == 0 { return }
    while letGo.wait(Deadline(milliseconds: 60_000)) == nil {}
    // The end of this function closes the disk.
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

  private func fill(_ disk: borrowing Descriptor, _ ranges: [Range<UInt64>]) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.stepBytes, alignment: 4096)
    defer { buffer.deallocate() }
    let began = monotonicNanoseconds()
    // Only what is named: what the kernel would read ahead by itself nobody wants.
    _ = posix_fadvise(disk.rawValue, 0, 0, POSIX_FADV_RANDOM)
    var ahead = Steps(ranges, Self.stepBytes)
    var aheadBytes = 0
    var failures = 0
    var steps = Steps(ranges, Self.stepBytes)
    while let step = steps.next() {
      if failures == Self.failuresMax || state.withLock({ $0.isReleased }) { return }
      // Queues work on several at a time, and the first one is waited for.
      while aheadBytes < Self.aheadMax, let next = ahead.next() {
        _ = posix_fadvise(disk.rawValue, Int(next.lowerBound), next.count, POSIX_FADV_WILLNEED)
        aheadBytes += next.count
      }
      aheadBytes -= step.count
      failures = read(disk, step, buffer, since: began) ? 0 : failures + 1
    }
  }

  /// Whether it could be read.
  private func read(
    _ disk: borrowing Descriptor, _ step: Range<UInt64>, _ buffer: UnsafeMutableRawBufferPointer, since began: UInt64
  ) -> Bool {
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<step.count])
    var failure: Errno?
    do throws(Errno) {
      if try disk.readFully(into: part, at: step.lowerBound) < step.count { failure = .ioError }
    } catch {
      failure = error
    }
    state.withLock { state in
      if failure == nil { state.progress.filledBytes += UInt64(step.count) }
      if let failure {
        state.progress.failedBytes += UInt64(step.count)
        state.progress.lastError = failure
      }
      state.progress.milliseconds = (monotonicNanoseconds() - began) / 1_000_000
    }
    return failure == nil
  }
}

/// Ranges in parts of a limited size.
private struct Steps {
  private var ranges: ArraySlice<Range<UInt64>>
  private let bytesMax: UInt64

  init(_ ranges: [Range<UInt64>], _ bytesMax: Int) {
    self.ranges = ranges[...]
    self.bytesMax = UInt64(bytesMax)
  }

  mutating func next() -> Range<UInt64>? {
    guard let range = ranges.first else { return nil }
    let end = min(range.upperBound, range.lowerBound + bytesMax)
    if end == range.upperBound {
      ranges.removeFirst()
    } else {
      ranges[ranges.startIndex] = end..<range.upperBound
    }
    return range.lowerBound..<end
  }
}
