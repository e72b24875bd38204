import Glibc
import Posix
import Synchronization

/// The way to a registry that is far away: all connections of a server share its rate, and what is sent arrives a round
/// trip after it was asked for, behind what was sent before. What TCP adds to bytes takes its time too.
public final class TestLink: Sendable {
  /// Milliseconds.
  public let roundTrip: Int
  private let bytesPerSecond: Double
  /// When the last byte so far will have passed, nanoseconds of the monotonic clock.
  private let freeAt = Mutex<UInt64>(0)

  /// Bytes that are sent at once.
  static let step = 1448 * 4
  /// Bytes on the link for each byte of a connection: packets of 1500 bytes carry 1448, in frames of 1514.
  private static let framing = 1514.0 / 1448

  /// With a rate of bytes a second, packets as a whole.
  public init(roundTrip: Int, bytesPerSecond: Double) {
    self.roundTrip = roundTrip
    self.bytesPerSecond = bytesPerSecond
  }

  /// Sends so many bytes; returns when the last of them has arrived.
  func pass(_ count: Int) {
    let time = UInt64(Double(count) * Self.framing / bytesPerSecond * 1e9)
    let end = freeAt.withLock { free in
      free = max(free, monotonicNanoseconds()) + time
      return free
    }
    let now = monotonicNanoseconds()
    if end > now { usleep(UInt32((end - now) / 1000)) }
  }
}
