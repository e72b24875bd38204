import Glibc

/// `CLOCK_MONOTONIC`, nanoseconds.
public func monotonicNanoseconds() -> UInt64 {
  var now = timespec()
  clock_gettime(CLOCK_MONOTONIC, &now)
  return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
}

/// A point in time after which a wait ends.
public struct Deadline: Sendable {
  /// `CLOCK_MONOTONIC`, nanoseconds.
  public let nanoseconds: UInt64

  /// `milliseconds` from now, at most 100 years.
  public init(milliseconds: Int) {
    let bounded = min(max(0, milliseconds), 100 * 365 * 86_400_000)
    nanoseconds = monotonicNanoseconds() + UInt64(bounded) * 1_000_000
  }

  /// Whether it has passed.
  public var hasPassed: Bool { monotonicNanoseconds() >= nanoseconds }

  /// Nanoseconds left, 0 when it has passed.
  public var remaining: UInt64 {
    let now = monotonicNanoseconds()
    return now >= nanoseconds ? 0 : nanoseconds - now
  }

  /// Calls `condition` every `interval` ms until it holds (true) or the time is over (false).
  public func wait(interval: Int = 5, until condition: () -> Bool) -> Bool {
    while true {
      if condition() { return true }
      if hasPassed { return false }
      usleep(UInt32(min(UInt64(interval) * 1000, max(1, remaining / 1000))))
    }
  }
}
