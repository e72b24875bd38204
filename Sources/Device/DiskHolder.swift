import Glibc
import Posix

/// The process that reads ranges of a disk into its page cache for a ``HeldDisk``, and holds the disk open until its server
/// tells it to let go, or is gone. Of the device's other side it has nothing, so nobody waits for it who serves the disk.
public struct DiskHolder {
  /// The word that a program is called with to be one, before the path of the disk.
  public static let command = "hold-disk"

  /// What it is told to do, once.
  struct Order {
    var ranges: [Range<UInt64>]
    /// Whether the disk is held also if nothing was read.
    var holdsAnyway: Bool

    /// Ranges that an order may have: a read of each sector of a large disk.
    private static let rangesMax: UInt64 = 1 << 28

    var numbers: [UInt64] {
      [holdsAnyway ? 1 : 0, UInt64(ranges.count)] + ranges.flatMap { [$0.lowerBound, $0.upperBound] }
    }

    /// The next one of a channel, or nil.
    static func receive(_ channel: Int32) -> Order? {
      guard let head = NumberChannel.receive(2, channel), head[1] <= rangesMax,
        let ends = NumberChannel.receive(Int(head[1]) * 2, channel)
      else { return nil }
      var ranges: [Range<UInt64>] = []
      for number in stride(from: 0, to: ends.count, by: 2) {
        guard ends[number] <= ends[number + 1] else { return nil }
        ranges.append(ends[number]..<ends[number + 1])
      }
      return Order(ranges: ranges, holdsAnyway: head[0] == 1)
    }
  }

  /// What it says after each step.
  struct Report {
    var filledBytes: UInt64 = 0
    var failedBytes: UInt64 = 0
    var milliseconds: UInt64 = 0
    var isHeld = false
    var isOver = false
    var lastError: Errno?

    /// Numbers that it is made of.
    static let count = 6

    init() {}

    /// Of ``count`` numbers.
    init(_ numbers: [UInt64]) {
      filledBytes = numbers[0]
      failedBytes = numbers[1]
      milliseconds = numbers[2]
      isHeld = numbers[3] == 1
      isOver = numbers[4] == 1
      lastError = numbers[5] == 0 ? nil : Errno(rawValue: Int32(truncatingIfNeeded: numbers[5]))
    }

    var numbers: [UInt64] {
      [
        filledBytes, failedBytes, milliseconds, isHeld ? 1 : 0, isOver ? 1 : 0, UInt64(lastError?.rawValue ?? 0),
      ]
    }
  }

  /// Bytes of a read; also what may be lost of a fill that is told to end.
  private static let stepBytes = 128 << 10
  /// Bytes that are read ahead of the step whose turn it is: what is under way, and what it has in memory but pages.
  private static let aheadMax = 1 << 20
  /// Reads that fail one after the other before the rest is given up: the disk does not answer any more.
  private static let failuresMax = 4

  private let channel: Int32
  private var report = Report()

  /// All that the process does: takes its order from `channel`, a socket, carries it out on the disk at `path`, and returns
  /// once the other end is shut. What fails is said over the channel.
  public static func run(_ path: String, channel: Int32) {
    guard let order = Order.receive(channel) else { return }
    var holder = DiskHolder(channel: channel)
    do throws(Errno) {
      let disk = try Descriptor.open(path)
      holder.report.isHeld = true
      holder.say()
      holder.fill(disk, order.ranges)
      holder.report.isOver = true
      holder.say()
      if order.holdsAnyway || holder.report.filledBytes > 0 { holder.waitForEnd() }
    } catch {
      holder.report.lastError = error
      holder.report.isOver = true
      holder.say()
    }
  }

  private init(channel: Int32) { self.channel = channel }

  private func say() { NumberChannel.send(report.numbers, channel) }

  /// Nothing comes after the order but the end.
  private func waitForEnd() { _ = NumberChannel.receive(1, channel) }

  /// Whether nobody wants the disk any more.
  private var isReleased: Bool {
    var entry = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0
  }

  private mutating func fill(_ disk: borrowing Descriptor, _ ranges: [Range<UInt64>]) {
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
      if failures == Self.failuresMax || isReleased { return }
      // Queues work on several at a time, and the first one is waited for.
      while aheadBytes < Self.aheadMax, let next = ahead.next() {
        _ = posix_fadvise(disk.rawValue, Int(next.lowerBound), next.count, POSIX_FADV_WILLNEED)
        aheadBytes += next.count
      }
      aheadBytes -= step.count
      if let failure = Self.read(disk, step, buffer) {
        failures += 1
        report.failedBytes += UInt64(step.count)
        report.lastError = failure
      } else {
        failures = 0
        report.filledBytes += UInt64(step.count)
      }
      report.milliseconds = (monotonicNanoseconds() - began) / 1_000_000
      say()
    }
  }

  /// Why it could not be read.
  private static func read(
    _ disk: borrowing Descriptor, _ step: Range<UInt64>, _ buffer: UnsafeMutableRawBufferPointer
  ) -> Errno? {
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<step.count])
    do throws(Errno) {
      return try disk.readFully(into: part, at: step.lowerBound) < step.count ? .ioError : nil
    } catch {
      return error
    }
  }
}

/// Numbers of 8 bytes over a stream socket between two processes of one machine.
enum NumberChannel {
  /// Sends all of them, or as many as the other side takes: its end is heard by ``receive(_:_:)``.
  static func send(_ numbers: [UInt64], _ socket: Int32) {
    numbers.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = Glibc.send(
          socket, bytes.baseAddress! + done, bytes.count - done, Int32(MSG_NOSIGNAL))
        if count > 0 { done += count } else if errno != EINTR { return }
      }
    }
  }

  /// The next `count` numbers; nil when the other side ends first.
  static func receive(_ count: Int, _ socket: Int32) -> [UInt64]? {
    var numbers = [UInt64](repeating: 0, count: count)
    let isWhole = numbers.withUnsafeMutableBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = recv(socket, bytes.baseAddress! + done, bytes.count - done, 0)
        if count == 0 || count < 0 && errno != EINTR { return false }
        done += max(0, count)
      }
      return true
    }
    return isWhole ? numbers : nil
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
