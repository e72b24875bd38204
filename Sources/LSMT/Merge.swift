/// What a stack of layers shows: each a sorted, disjoint run of segments, bottom to top; higher ones win.
///
/// Neighbours are merged pairwise, then the results, and so on, so that N segments in k layers cost N log k steps.
/// The layers are released as they are used up.
func mergedStack(_ layers: inout [[Segment]]) -> [Segment] {
  guard !layers.isEmpty else { return [] }
  while layers.count > 1 {
    var next: [[Segment]] = []
    next.reserveCapacity((layers.count + 1) / 2)
    for lower in stride(from: 0, to: layers.count, by: 2) {
      if lower + 1 < layers.count {
        next.append(merged(lower: layers[lower], upper: layers[lower + 1]))
        layers[lower + 1] = []
      } else {
        next.append(layers[lower])
      }
      layers[lower] = []
    }
    layers = next
  }
  defer { layers = [] }
  return layers[0]
}

/// Lays `upper` over `lower`. Lower segments that are partly hidden are cut; nothing is joined.
func merged(lower: [Segment], upper: [Segment]) -> [Segment] {
  if upper.isEmpty { return lower }
  if lower.isEmpty { return upper }
  // An upper segment adds itself, and one piece when it lies within a lower one.
  return [Segment](unsafeUninitializedCapacity: lower.count + 2 * upper.count) { output, count in
    lower.withUnsafeBufferPointer { lower in
      upper.withUnsafeBufferPointer { upper in
        count = merge(lower: lower, upper: upper, into: output.baseAddress!)
      }
    }
  }
}

/// Writes the merged segments to `output` and returns how many they are.
private func merge(
  lower: UnsafeBufferPointer<Segment>, upper: UnsafeBufferPointer<Segment>,
  into output: UnsafeMutablePointer<Segment>
) -> Int {
  var written = 0
  var nextUpper = 0
  var hiddenUntil: UInt64 = 0
  for segment in lower {
    var start = segment.offset
    while true {
      while nextUpper < upper.count, upper[nextUpper].offset <= start {
        output[written] = upper[nextUpper]
        written &+= 1
        hiddenUntil = upper[nextUpper].end
        nextUpper &+= 1
      }
      start = max(start, hiddenUntil)
      if start >= segment.end { break }
      let stop = nextUpper < upper.count ? min(segment.end, upper[nextUpper].offset) : segment.end
      // Nothing may come between `start` and the next upper segment, which can begin right there.
      if stop > start {
        output[written] = segment.trimmed(from: start, to: stop)
        written &+= 1
      }
      start = stop
      if start >= segment.end { break }
    }
  }
  while nextUpper < upper.count {
    output[written] = upper[nextUpper]
    written &+= 1
    nextUpper &+= 1
  }
  return written
}
