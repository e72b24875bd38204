import Posix
import Registry

/// How much prefetch may be under way: as much as the way to the registry holds. More of it would wait there, and whoever
/// reads would wait behind it. Of the store's loop only.
///
/// The way holds its rate times its round trip. Both are seen on the answers: the shortest time from a request to its
/// first byte, and the most bytes that arrived within a while. Twice of that is kept under way, because what is being asked
/// for or sent is under way too, and because a way that holds more than was seen is found only by trying.
struct PrefetchPace {
  /// Fetches of all classes under way above which no prefetch is started: the places that there are at one host, with
  /// some left for demand.
  static let flightsMax = 40
  /// Bytes that may be under way before anything is known, and when nobody reads; and those that always may.
  private static let bytesAtFirst = 512 << 10
  private static let bytesMin = 128 << 10
  /// Nanoseconds without demand after which the way is prefetch's alone.
  private static let silence: UInt64 = 200_000_000
  /// Looks at the rate that are remembered.
  private static let samplesMax = 10

  private var roundTrip: UInt64 = .max
  /// Bytes a nanosecond.
  private var rates: [Double] = []
  private var windowBegan: UInt64 = 0
  private var windowBytes = 0
  private var lastDemand: UInt64 = 0

  /// Somebody waits for a fetch.
  mutating func noteDemand() { lastDemand = monotonicNanoseconds() }

  /// A prefetch begins while none is under way: what was seen before says little of now.
  mutating func noteStart() {
    windowBegan = monotonicNanoseconds()
    windowBytes = 0
  }

  /// A fetch's first byte came after so many microseconds.
  mutating func noteFirstByte(_ microseconds: Int) {
    roundTrip = min(roundTrip, UInt64(max(50, microseconds)) * 1000)
  }

  /// So many bytes came.
  mutating func note(_ bytes: Int) {
    windowBytes += bytes
    guard roundTrip < .max else { return }
    let now = monotonicNanoseconds()
    let time = now - windowBegan
    guard time > max(roundTrip, 10_000_000) else { return }
    let rate = Double(windowBytes) / Double(time)
    windowBegan = now
    windowBytes = 0
    rates.append(rate)
    if rates.count > Self.samplesMax { rates.removeFirst() }
  }

  /// Whether a fetch of `bytes` may be started beside `flying` bytes of prefetch.
  func allows(_ bytes: Int, beside flying: Int) -> Bool { flying == 0 || flying + bytes <= limit }

  private var limit: Int {
    guard let rate = rates.max(), roundTrip < .max else { return Self.bytesAtFirst }
    let held = rate * Double(roundTrip)
    // While somebody reads half of the way is his, so that he finds it free.
    if monotonicNanoseconds() - lastDemand < Self.silence { return max(Self.bytesMin, Int(held / 2)) }
    return max(Self.bytesAtFirst, Int(held * 2))
  }
}
