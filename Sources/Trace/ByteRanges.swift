/// Bytes of one file or disk: ranges in order that neither overlap nor touch.
public struct ByteRanges: Equatable, Sendable {
  /// The ranges.
  public private(set) var ranges: [Range<UInt64>] = []

  /// All bytes of `unsorted`, which may overlap.
  public init(_ unsorted: [Range<UInt64>] = []) {
    for range in unsorted.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
      if let last = ranges.last, range.lowerBound <= last.upperBound {
        ranges[ranges.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        ranges.append(range)
      }
    }
  }

  private init(sorted: [Range<UInt64>]) { ranges = sorted }

  /// How many bytes they are.
  public var byteCount: UInt64 { ranges.reduce(0) { $0 + $1.count64 } }

  /// The bytes that `other` has as well.
  public func intersection(_ other: ByteRanges) -> ByteRanges {
    var common: [Range<UInt64>] = []
    var left = 0
    var right = 0
    while left < ranges.count, right < other.ranges.count {
      let both = ranges[left].clamped(to: other.ranges[right])
      if !both.isEmpty { common.append(both) }
      if ranges[left].upperBound <= other.ranges[right].upperBound { left += 1 } else { right += 1 }
    }
    return ByteRanges(sorted: common)
  }

  /// The bytes that `other` does not have.
  public func subtracting(_ other: ByteRanges) -> ByteRanges {
    var rest: [Range<UInt64>] = []
    var next = other.first { ranges.isEmpty || $0.upperBound > ranges[0].lowerBound }
    for range in ranges {
      var start = range.lowerBound
      while next < other.ranges.count, other.ranges[next].upperBound <= start { next += 1 }
      var cut = next
      while cut < other.ranges.count, other.ranges[cut].lowerBound < range.upperBound {
        if other.ranges[cut].lowerBound > start { rest.append(start..<other.ranges[cut].lowerBound) }
        start = min(other.ranges[cut].upperBound, range.upperBound)
        cut += 1
      }
      if start < range.upperBound { rest.append(start..<range.upperBound) }
    }
    return ByteRanges(sorted: rest)
  }

  /// Whether all of `range` is in it.
  public func contains(_ range: Range<UInt64>) -> Bool {
    let found = first { $0.upperBound >= range.upperBound }
    return found < ranges.count && ranges[found].lowerBound <= range.lowerBound
  }

  /// The index of the first range for which `isBehind` holds, as it must for all after it; their number if there is none.
  private func first(where isBehind: (Range<UInt64>) -> Bool) -> Int {
    var first = 0
    var end = ranges.count
    while first < end {
      let middle = (first + end) / 2
      if isBehind(ranges[middle]) { end = middle } else { first = middle + 1 }
    }
    return first
  }

  /// The bytes that at least `minimum` of `sets` have.
  public static func common(toAtLeast minimum: Int, of sets: [ByteRanges]) -> ByteRanges {
    var edges: [(offset: UInt64, step: Int)] = []
    for range in sets.flatMap(\.ranges) { edges += [(range.lowerBound, 1), (range.upperBound, -1)] }
    edges.sort { $0.offset < $1.offset }
    var found: [Range<UInt64>] = []
    var depth = 0
    var start: UInt64 = 0
    for edge in edges {
      let before = depth
      depth += edge.step
      if before < minimum, depth >= minimum { start = edge.offset }
      if before >= minimum, depth < minimum { found.append(start..<edge.offset) }
    }
    // Where one range ends and another begins there may be a cut, or an empty range.
    return ByteRanges(found)
  }
}
