/// How much is fetched behind the bytes that somebody waits for, in the same request: they arrive first, so the rest
/// costs no time of theirs, but bandwidth.
///
/// A blob is read in order where a whole file or disk is read, and then a request for each read would wait a round
/// trip each: the window doubles with each read that continues the last fetch. Where reads jump about, most of what
/// follows them is never read: the window halves with each jump.
struct Readahead {
  /// Chunks of the smallest and the largest window: 128 KiB, measured best for scattered starts, and 4 MiB, which at a
  /// round trip of 20 ms is 1.6 Gbit/s.
  static let windowMin = 2
  static let windowMax = 64

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
}
