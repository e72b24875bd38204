/// How long requests of a class took, in buckets that grow with the time: eight for each power of two, so that a bucket's
/// bounds are 12.5 % apart.
public struct LatencyHistogram: Equatable, Sendable {
  /// Classes of requests, each with a histogram of its own. Reads that the kernel answers by itself after one of an
  /// uncompressed extent, and those that are zeroes as a whole, are not timed. DISCARD and WRITE_ZEROES are not either: how
  /// long they take is a matter of how much they cover.
  public enum Class: Int, CaseIterable, Sendable {
    /// Reads that were served with what this machine had.
    case local
    /// Reads that had to wait for bytes of the network.
    case remote
    /// WRITEs. Of one that is not to stay in a cache, until it was durable.
    case write
    /// FLUSHes.
    case flush
  }

  /// Buckets of a histogram.
  public static let bucketCount = 256
  /// Nanoseconds that the first eight buckets are apart, as a power of two: 128.
  private static let unitShift: UInt64 = 7

  /// How many requests there are in each bucket.
  public private(set) var counts: [UInt64]

  /// Without any.
  public init() { counts = [UInt64](repeating: 0, count: Self.bucketCount) }

  /// By its counts, of which there must be ``bucketCount``.
  init(counts: [UInt64]) {
    precondition(counts.count == Self.bucketCount)
    self.counts = counts
  }

  /// The bucket of a time: 0 to 7 are 128 ns each; the last one has all that is longer than 34 minutes.
  @inline(__always)
  static func bucket(_ nanoseconds: UInt64) -> Int {
    let units = nanoseconds &>> unitShift
    if units < 8 { return Int(truncatingIfNeeded: units) }
    let octave = 60 &- units.leadingZeroBitCount
    let bucket = (octave &+ 1) &* 8 &+ Int(truncatingIfNeeded: (units &>> UInt64(octave)) & 7)
    return min(bucket, bucketCount &- 1)
  }

  /// Where a bucket ends, nanoseconds.
  static func end(ofBucket bucket: Int) -> UInt64 {
    if bucket < 8 { return UInt64(bucket + 1) << unitShift }
    return UInt64(bucket % 8 + 9) << (UInt64(bucket / 8 - 1) + unitShift)
  }

  /// Adds a request.
  mutating func add(_ nanoseconds: UInt64) { counts[Self.bucket(nanoseconds)] += 1 }

  /// Requests in all.
  public var total: UInt64 { counts.reduce(0, &+) }

  /// The time, in nanoseconds, that `share` (0 to 1) of the requests did not exceed, at most 12.5 % too long; nil without
  /// requests. A share of 1 is the longest.
  public func quantile(_ share: Double) -> UInt64? {
    let total = total
    if total == 0 { return nil }
    let wanted = max(1, UInt64((share * Double(total)).rounded(.up)))
    var seen: UInt64 = 0
    for (bucket, count) in counts.enumerated() {
      seen &+= count
      if seen >= wanted { return Self.end(ofBucket: bucket) }
    }
    return Self.end(ofBucket: Self.bucketCount - 1)
  }

  /// All times together, seconds, up to 12.5 % too large.
  public var sum: Double {
    counts.enumerated().reduce(0) { $0 + Double($1.element) * Double(Self.end(ofBucket: $1.offset)) } / 1e9
  }

  /// How many requests took less than each power of two from 4 us to 17 s, `end` seconds.
  public var octaves: [(end: Double, count: UInt64)] {
    let first = 4096
    var sum: UInt64 = 0
    var octaves: [(end: Double, count: UInt64)] = []
    for (bucket, count) in counts.enumerated() {
      sum &+= count
      let end = Self.end(ofBucket: bucket)
      if end >= first, end <= first << 22, bucket % 8 == 7 { octaves.append((Double(end) / 1e9, sum)) }
    }
    return octaves
  }

  /// What came after `earlier`, a histogram of the same requests.
  public func since(_ earlier: LatencyHistogram) -> LatencyHistogram {
    LatencyHistogram(counts: zip(counts, earlier.counts).map { $0 >= $1 ? $0 - $1 : 0 })
  }

  /// Both together.
  static func + (left: LatencyHistogram, right: LatencyHistogram) -> LatencyHistogram {
    LatencyHistogram(counts: zip(left.counts, right.counts).map { $0 &+ $1 })
  }
}

/// The counts of one queue's histograms in the counter page, for its thread.
struct LatencyCounts: BitwiseCopyable, @unchecked Sendable {
  let counts: UnsafeMutablePointer<UInt64>

  /// Bytes of a queue's histograms: two pages.
  static let bytes = LatencyHistogram.Class.allCases.count * LatencyHistogram.bucketCount * 8

  @inline(__always)
  func add(_ kind: LatencyHistogram.Class, _ nanoseconds: UInt64) {
    counts[kind.rawValue &* LatencyHistogram.bucketCount &+ LatencyHistogram.bucket(nanoseconds)] &+= 1
  }

  /// Makes a class's histogram another one, before its thread adds to it.
  func set(_ kind: LatencyHistogram.Class, _ histogram: LatencyHistogram) {
    let start = counts + kind.rawValue * LatencyHistogram.bucketCount
    for (bucket, count) in histogram.counts.enumerated() { start[bucket] = count }
  }
}
