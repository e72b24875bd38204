import Posix

/// What is under way of a blob.
struct Traffic {
  /// Flights that have not ended, by what they have left: no two have the same chunk.
  private(set) var flights: [Flight] = []
  /// Chunks that another process is fetching, and who waits for them here: no two have the same chunk.
  var foreign: [Foreign] = []
  /// Until then nobody has much patience with other processes: one of them was waited for in vain.
  var impatientUntil: Deadline?
  /// Whether the registry has been heard of the blob's size, which is not contradicted. Until then nothing of an answer
  /// is used before its end: it may be about another blob than is meant.
  var isSizeKnown = false
  /// What becomes of what a prefetch names; nil where there was none.
  var grading: Grading?
  /// What all of it had as its sha256 instead of its own, and until when nobody asks the registry for it again.
  var wrong: (sha256: String, until: Deadline)?
  /// How far ahead of a read it is worth to fetch.
  var readahead = Readahead()
  /// The chunks below this one were here when they were looked at.
  var complete = 0
  /// Whether all were.
  var wasComplete = false
  /// Drops that the map had counted then.
  var completeDrops: UInt64 = 0

  /// Where a flight is, or would be, of which `chunk` or one behind it is next.
  private func place(_ chunk: Int) -> Int {
    var low = 0
    var high = flights.count
    while low < high {
      let middle = (low + high) / 2
      if flights[middle].next < chunk { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Behind one that has landed there and has nothing left, but whose end was not told of yet: else the order would be lost
  /// when the new one gets on.
  mutating func add(_ flight: Flight) { flights.insert(flight, at: place(flight.next + 1)) }

  mutating func remove(_ flight: Flight) {
    var index = place(flight.next)
    while index < flights.count, flights[index] !== flight { index += 1 }
    if index < flights.count { flights.remove(at: index) }
  }

  /// The flight that brings a chunk, and the next chunk behind that is another's or nobody's; without a flight, where
  /// the next one begins.
  func flight(at chunk: Int) -> (Flight?, upTo: Int) {
    let index = place(chunk + 1)
    if index > 0, flights[index - 1].rest.contains(chunk) {
      return (flights[index - 1], flights[index - 1].chunks.upperBound)
    }
    return (nil, index < flights.count ? flights[index].next : .max)
  }

  /// What another process brings: as `flight(at:)`, with the index into `foreign`.
  func foreign(at chunk: Int) -> (Int?, upTo: Int) {
    var next = Int.max
    for (index, foreign) in foreign.enumerated() {
      if foreign.chunks.contains(chunk) { return (index, foreign.chunks.upperBound) }
      if foreign.chunks.lowerBound > chunk { next = min(next, foreign.chunks.lowerBound) }
    }
    return (nil, next)
  }

  /// Whether somebody brings a chunk.
  func hasUnderWay(_ chunk: Int) -> Bool { flight(at: chunk).0 != nil || foreign(at: chunk).0 != nil }
}

/// Chunks that another process is fetching.
struct Foreign {
  /// From the first to the last that somebody waited for when they were looked at last.
  var chunks: Range<Int>
  var waits: [Wait]
  var fetchClass: FetchClass
  /// When they are fetched here as well, unless the other process is seen to get on.
  var patience: Deadline
  /// Chunks here and in the stretch before that were here when the patience was given.
  var present: Int
}
