/// How much is fetched behind the bytes that somebody waits for, in the same request: they arrive first, so the rest
/// costs no time of theirs, but bandwidth.
///
/// A blob is read in order where a whole file or disk is read, and then a request for each read would wait a round
/// trip each: the window doubles with each read that continues the last fetch. Where reads jump about, most of what
/// follows them is never read: the window halves with each jump.
struct Readahead {
  /// Chunks of the smallest and the largest window: 128 KiB, and 4 MiB, which at a round trip of 20 ms is 1.6 Gbit/s.
  ///
  /// The smallest decides over scattered starts. `scripts/bench remote`, 1500 reads that need 14 MB, one reader, by
  /// chunks of it: seconds, requests, MB. More costs bytes, less costs round trips; two is the fewest with which such a
  /// start takes less than 12 s.
  ///
  ///     1    13.7    544    49.6      (computed from the reads, as the following)
  ///     2    11.1    395    55.7      (measured; computed: 10.7, 421, 53.3)
  ///     3     8.6    336    58.5
  ///     4     7.3    281    61.4
  ///
  /// Chunks of 16 KiB would need 3.6 times as much as 14 MB instead of 3.8 in the same time; windows that grow where
  /// much was read nearby, or that begin before the read, gain nothing.
  static let windowMin = 2
  static let windowMax = 64

  /// The window from which on reads are taken to be in order.
  private static let windowInOrder = 8

  private var window = Self.windowMin
  /// Where the last fetches ended.
  private var ends: [Int] = []

  /// The chunks to fetch when `missing` are not here; never beyond `limit`.
  mutating func extend(_ missing: Range<Int>, limit: Int) -> Range<Int> {
    if let stream = ends.firstIndex(of: missing.lowerBound) {
      ends.remove(at: stream)
      window = min(Self.windowMax, window * 2)
    } else {
      window = max(Self.windowMin, window / 2)
    }
    let end = min(limit, max(missing.upperBound, missing.lowerBound + window))
    ends.append(end)
    // As many readers in order as are told apart.
    if ends.count > 8 { ends.removeFirst() }
    return missing.lowerBound..<end
  }

  /// Whether reads in order led to a fetch that ended there, so that probably what follows is read, too.
  func isInOrder(upTo end: Int) -> Bool { window >= Self.windowInOrder && ends.contains(end) }
}
