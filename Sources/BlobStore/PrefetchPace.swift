import Posix
import Registry

/// How much prefetch may be under way. Of the store's loop only.
///
/// **Alone** it has as much under way as the way to the registry holds, twice: the rate that was seen times the shortest
/// time from a request to its first byte. Twice, because what is being asked for or sent is under way too, and because a way
/// that holds more than was seen is found only by trying. What is more than once waits somewhere on the way.
///
/// **While somebody reads** nothing may wait there: he would wait behind it. How much that is shows itself, on any way and
/// any machine: while first bytes come about as soon as they ever did, a bit more may be under way, and less as soon as they
/// come later. What reads have asked for counts, too. And no request is for more than what the way takes in a short time,
/// because what one request brings comes in one go.
struct PrefetchPace {
  /// Fetches of all classes under way above which no prefetch is started: the places that there are at one host, with
  /// some left for demand.
  static let flightsMax = 48
  /// Bytes that may be under way before anything is known, and always when nobody reads.
  private static let bytesAtFirst = 512 << 10
  /// The least that is asked for at once, if there is as much to ask for, and that may be under way while somebody reads.
  static let sliceMin = Int(ChunkMap.spanBytes)
  /// The most that may be under way while somebody reads, however good the way is.
  private static let windowMax = 16 << 20
  /// Nanoseconds without demand after which the way is prefetch's alone.
  static let silence: UInt64 = 1_000_000_000
  /// Nanoseconds for which a shortest time to a first byte is believed, and as long again until a new one is known.
  private static let epoch: UInt64 = 10_000_000_000
  /// Looks at the rate that are remembered.
  private static let samplesMax = 10

  /// Nanoseconds: the shortest of this epoch and of the one before.
  private var roundTrips: (now: UInt64, before: UInt64) = (.max, .max)
  private var epochBegan: UInt64 = 0
  /// Bytes a nanosecond.
  private var rates: [Double] = []
  private var windowBegan: UInt64 = 0
  private var windowBytes = 0
  private var lastDemand: UInt64?
  /// Bytes that may be under way while somebody reads.
  private var window = 0

  /// Whether somebody reads, or has just read.
  private func isShared(_ now: UInt64) -> Bool { lastDemand.map { now - $0 < Self.silence } ?? false }

  // All times are nanoseconds of `CLOCK_MONOTONIC`, and now where a caller does not say.

  /// Somebody waits for a fetch, while a prefetch goes on.
  mutating func noteDemand(at now: UInt64 = monotonicNanoseconds()) {
    if !isShared(now) { window = held.map { max(Self.sliceMin, min(Self.windowMax, $0 / 2)) } ?? Self.sliceMin }
    lastDemand = now
  }

  /// A prefetch begins while none is under way: what was seen before says little of now.
  mutating func noteStart(at now: UInt64 = monotonicNanoseconds()) {
    windowBegan = now
    windowBytes = 0
  }

  /// A fetch's first byte came after so many microseconds, while `flying` bytes were under way.
  mutating func noteFirstByte(_ microseconds: Int, beside flying: Int, at now: UInt64 = monotonicNanoseconds()) {
    let time = UInt64(max(50, microseconds)) * 1000
    if now - epochBegan > Self.epoch {
      roundTrips = (.max, roundTrips.now)
      epochBegan = now
    }
    roundTrips.now = min(roundTrips.now, time)
    guard isShared(now), let roundTrip else { return }
    // Half a millisecond is what a machine needs to turn round.
    if time > roundTrip + roundTrip / 8 + 500_000 {
      window = max(Self.sliceMin, window - window / 8)
    } else if flying + slice > window {
      window = min(Self.windowMax, window + Self.sliceMin / 4)
    }
  }

  /// So many bytes came.
  mutating func note(_ bytes: Int, at now: UInt64 = monotonicNanoseconds()) {
    windowBytes += bytes
    guard let roundTrip else { return }
    let time = now - windowBegan
    guard time > max(roundTrip, 10_000_000) else { return }
    let rate = Double(windowBytes) / Double(time)
    windowBegan = now
    windowBytes = 0
    // Of what is held back for readers it shows only that.
    if isShared(now), rate < rates.max() ?? 0 { return }
    rates.append(rate)
    if rates.count > Self.samplesMax { rates.removeFirst() }
  }

  /// Bytes that a fetch may ask for at once; nil for as many as it wants.
  func sliceMax(at now: UInt64 = monotonicNanoseconds()) -> Int? { isShared(now) ? slice : nil }

  /// Whether a fetch of `bytes` may be started beside `flying` bytes of prefetch, and `others` of other classes. One
  /// always may. Alone a long one need not fit as a whole: else the way would be empty before each of them.
  func allows(_ bytes: Int, beside flying: Int, others: Int, at now: UInt64 = monotonicNanoseconds()) -> Bool {
    if flying == 0 { return true }
    if isShared(now) { return min(bytes, slice) + flying + others <= window }
    let limit = max(Self.bytesAtFirst, (held ?? 0) * 2)
    return flying + min(bytes, limit / 2) <= limit
  }

  private var roundTrip: UInt64? {
    let shortest = min(roundTrips.now, roundTrips.before)
    return shortest < .max ? shortest : nil
  }

  /// Bytes that the way holds; nil while that is not known.
  private var held: Int? {
    guard let rate = rates.max(), let roundTrip else { return nil }
    return Int(rate * Double(roundTrip))
  }

  /// What the way takes in an eighth of a round trip.
  private var slice: Int { max(Self.sliceMin, (held ?? 0) / 8) }
}
