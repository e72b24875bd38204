/// How much is fetched behind the bytes that somebody waits for, in the same request: they arrive first, so the rest
/// costs no time of theirs, but bandwidth.
///
/// A blob is read in order where a whole file or disk is read, and then a request for each read would wait a round
/// trip each: the window doubles with each read that continues the last fetch. Where reads jump about, most of what
/// follows them is never read: the window halves with each jump.
struct Readahead {
  /// Chunks of the smallest and the largest window: 160 KiB, and 4 MiB, which at a round trip of 20 ms is 1.6 Gbit/s.
  ///
  /// The smallest decides over scattered starts: more costs bytes, less costs round trips. For the 1500 reads of
  /// `scripts/bench remote`, which need 14.0 MB, computed with 21 ms a request and 25 MB/s, by KiB of it: seconds,
  /// requests, MB.
  ///
  ///     64    16.3    679    39.5
  ///     96    14.1    559    45.5
  ///     128   12.5    478    49.5
  ///     160   11.7    433    52.9
  ///     192   11.1    400    55.8
  ///
  /// Windows that grow where much was read nearby, or that begin before the read, gain nothing.
  static let windowMin = 160
  static let windowMax = 4096

  /// The window from which on reads are taken to be in order.
  private static let windowInOrder = 512

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
