/// Accesses of one stack without overlap: what traces are merged with.
///
/// A byte is of the disk, or of a layer's file where no part of the disk shows it. Of each byte is kept when it was first
/// touched, and by how many runs. Touches are in the order of ``Place``.
struct Touches {
  /// An access, and its place in the order of first touch among those of its microsecond.
  struct Touch {
    var access: TraceAccess
    var rank: UInt32

    /// Whether `later` adds nothing to it.
    fileprivate func covers(_ later: Touch) -> Bool {
      access.place <= later.access.place && later.access.end <= access.end && rank < later.rank
        && later.access.runs <= access.runs
    }
  }

  /// Where a byte is: first all of the disk, then the layers' files.
  struct Place: Comparable {
    /// 0: the disk; above, one more than the layer.
    var plane: Int
    var offset: UInt64

    static func < (a: Place, b: Place) -> Bool { a.plane != b.plane ? a.plane < b.plane : a.offset < b.offset }
  }

  /// How the runs of bytes that both sides have are counted.
  enum Counting {
    /// Both sides tell of the same runs.
    case sameRuns
    /// Each side tells of other runs.
    case otherRuns
  }

  private(set) var touches: [Touch] = []
  private let layers: [TraceLayer]

  /// The accesses of a trace, each byte once.
  init(_ trace: AccessTrace) {
    layers = trace.layers
    touches.reserveCapacity(trace.accesses.count)
    for (number, access) in trace.accesses.enumerated() {
      touches.append(Touch(access: access, rank: UInt32(number)))
    }
    // Ranks are in the order of time.
    touches.sort { a, b in
      let (left, right) = (a.access.place, b.access.place)
      return left == right ? a.rank < b.rank : left < right
    }
    removeOverlaps()
  }

  private init(_ touches: [Touch], _ layers: [TraceLayer]) {
    self.touches = touches
    self.layers = layers
  }

  /// The accesses in the order of their first touch.
  func inOrder() -> [TraceAccess] {
    var sorted = touches
    sorted.sort { a, b in
      if a.access.microseconds != b.access.microseconds { return a.access.microseconds < b.access.microseconds }
      return a.rank == b.rank ? a.access.place < b.access.place : a.rank < b.rank
    }
    return sorted.map(\.access)
  }

  /// All bytes of both, in time linear in their touches.
  func merged(with other: Touches, _ counting: Counting) -> Touches {
    var result = Touches([], layers)
    result.touches.reserveCapacity(touches.count + other.touches.count)
    var left = Rest(touches[...])
    var right = Rest(other.touches[...])
    while let a = left.first, let b = right.first {
      // What comes before the other side's first byte is taken as it is.
      let start = a.access.place < b.access.place ? b.access.place : a.access.place
      if a.access.place < start {
        result.append(left.take(upTo: start, layers))
      } else if b.access.place < start {
        result.append(right.take(upTo: start, layers))
      } else {
        let end = min(a.access.end, b.access.end)
        let x = left.take(upTo: end, layers)
        let y = right.take(upTo: end, layers)
        result.append(Self.both(x, y, counting))
      }
    }
    while let rest = left.first { result.append(left.take(upTo: rest.access.end, layers)) }
    while let rest = right.first { result.append(right.take(upTo: rest.access.end, layers)) }
    return result
  }

  /// Two touches of the same bytes.
  private static func both(_ x: Touch, _ y: Touch, _ counting: Counting) -> Touch {
    var first = (x.access.microseconds, x.rank) <= (y.access.microseconds, y.rank) ? x : y
    switch counting {
    case .sameRuns: first.access.runs = max(x.access.runs, y.access.runs)
    case .otherRuns: first.access.runs = x.access.runs &+ y.access.runs
    }
    return first
  }

  /// Adds what follows; joins it to the last if they were one.
  private mutating func append(_ touch: Touch) {
    if let last = touches.last, last.rank == touch.rank, let joined = last.access.joined(with: touch.access, layers) {
      touches[touches.count - 1].access = joined
    } else {
      touches.append(touch)
    }
  }

  /// Touches that are sorted by where they begin become ones that do not overlap.
  private mutating func removeOverlaps() {
    // Most overlaps are of what was read once more, later.
    var kept: [Touch] = []
    kept.reserveCapacity(touches.count)
    for touch in touches {
      if let last = kept.last, last.covers(touch) { continue }
      kept.append(touch)
    }
    self = Self.withoutOverlaps(kept[...], layers)
  }

  /// Halves that have none, merged.
  private static func withoutOverlaps(_ touches: ArraySlice<Touch>, _ layers: [TraceLayer]) -> Touches {
    let isDisjoint = zip(touches, touches.dropFirst()).allSatisfy { $0.access.end <= $1.access.place }
    if isDisjoint { return Touches(Array(touches), layers) }
    let middle = (touches.startIndex + touches.endIndex) / 2
    return withoutOverlaps(touches[..<middle], layers)
      .merged(with: withoutOverlaps(touches[middle...], layers), .sameRuns)
  }

  /// Touches that are used up from the front.
  private struct Rest {
    private var rest: ArraySlice<Touch>
    private(set) var first: Touch?

    init(_ touches: ArraySlice<Touch>) {
      rest = touches
      first = rest.popFirst()
    }

    /// The part of the first before `end`, which must be in it or its end.
    mutating func take(upTo end: Place, _ layers: [TraceLayer]) -> Touch {
      var taken = first!
      if taken.access.end <= end {
        first = rest.popFirst()
      } else {
        let count = end.offset - taken.access.place.offset
        first!.access = taken.access.part(from: count, layers)
        taken.access = taken.access.part(upTo: count, layers)
      }
      return taken
    }
  }
}

extension TraceAccess {
  /// Where it begins.
  var place: Touches.Place {
    device.isEmpty
      ? Touches.Place(plane: (layer ?? 0) + 1, offset: stored.lowerBound)
      : Touches.Place(plane: 0, offset: device.lowerBound)
  }

  /// Where it ends.
  var end: Touches.Place {
    var end = place
    end.offset += device.isEmpty ? stored.count64 : device.count64
    return end
  }
}
