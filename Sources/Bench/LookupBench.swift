import Glibc
import LSMT

/// How fast the merged index of an image is searched: `SegmentMap` against binary search over the same segments.
///
/// A lookup is what a 4 KiB read needs: find, copy and trim the mappings of 8 sectors at a random position.
enum LookupBench {
  /// Sectors of one lookup.
  private static let span: UInt64 = 8

  /// How the segments (1...64 sectors each) are spread over the device.
  private enum Shape: String, CaseIterable {
    /// Everywhere, with holes.
    case even
    /// All but one at either end in one thousandth of the device, and looked up there: a lopsided image.
    case skewed
  }

  private static let rounds = 60

  /// Prints a table: lookups a second, in millions, on one core.
  static func run() {
    print(
      "lookups of \(span) sectors on one CPU, M/s: best and median of \(rounds) rounds, which the three take in turn;")
    print("ratio to the faster binary search; bytes of the map for each segment that was merged")
    print("shape    segments     std search     branchless        warmblk     ratio    bytes")
    for shape in Shape.allCases {
      for count in [1_000, 10_000, 100_000, 1_000_000] { measure(shape, count) }
    }
  }

  private static func measure(_ shape: Shape, _ count: Int) {
    let segments = makeSegments(shape, count)
    guard let map = try? SegmentMap(layers: [segments], virtualSize: segments[count - 1].end * 512) else {
      fatalError("the benchmark's own segments do not make a map")
    }
    let view = map.view
    let plain = PlainIndex(runs: view)
    let first = shape == .even ? 0 : segments[1].offset
    let last = shape == .even ? segments[count - 1].end : segments[count - 2].end
    let positions = first..<last - span
    var standard = Measurement(number: 0)
    var branchless = Measurement(number: 1)
    var ours = Measurement(number: 2)
    // Short rounds in turn: other work on the machine then disturbs all of them alike.
    for round in 0..<rounds {
      standard.run(round, positions) {
        plain.copyMappings(from: $0, startingAt: plain.standardSearch($0), &$1)
      }
      branchless.run(round, positions) {
        plain.copyMappings(from: $0, startingAt: plain.branchlessSearch($0), &$1)
      }
      ours.run(round, positions) { position, output in
        var cursor = view.mappings(from: position, count: span)
        while let mapping = cursor.next() { output.append(mapping) }
      }
    }
    let best = ours.best / max(standard.best, branchless.best)
    let median = ours.median / max(standard.median, branchless.median)
    let columns = [
      pad(shape.rawValue, -8), pad("\(count)", 8), pad(standard.rates, 14), pad(branchless.rates, 14),
      pad(ours.rates, 14), pad("\(decimal(best)) \(decimal(median))", 9),
      pad(decimal(Double(map.byteCount) / Double(count)), 8),
    ]
    print(columns.joined(separator: " "))
    precondition(standard.sum == branchless.sum && standard.sum == ours.sum, "the searches disagree")
  }

  private static func makeSegments(_ shape: Shape, _ count: Int) -> [Segment] {
    var random = Generator(0)
    var segments: [Segment] = []
    var sector: UInt64 = 0
    var moffset: UInt64 = 8
    let outside = UInt64(count) * 33 * 500
    for index in 0..<count {
      if shape == .skewed, index == 1 || index == count - 1 { sector += outside }
      if random.below(5) == 0 { sector += 1 + random.below(64) }
      let length = 1 + random.below(64)
      segments.append(
        Segment(offset: sector, length: UInt32(length), moffset: moffset, isZeroed: random.below(10) == 0))
      sector += length
      moffset += length + random.below(2)
    }
    return segments
  }

  /// Lookups of one kind.
  private struct Measurement {
    private static let lookups = 100_000
    /// Of the kinds that are compared; each has positions of its own, so that none warms the caches for the next.
    private let number: Int
    private var nanoseconds: [UInt64] = []
    /// Over everything found in some more lookups: the same for every kind of search.
    private(set) var sum: UInt64 = 0

    init(number: Int) { self.number = number }

    /// Lookups a second, in millions, in the best round.
    var best: Double { rate(nanoseconds.min() ?? .max) }
    /// The same in the median round.
    var median: Double { rate(nanoseconds.sorted()[nanoseconds.count / 2]) }
    var rates: String { "\(decimal(best)) \(pad(decimal(median), 6))" }

    private func rate(_ nanoseconds: UInt64) -> Double { Double(Self.lookups) / Double(nanoseconds) * 1e3 }

    /// Times lookups at random positions.
    @inline(__always)
    mutating func run(_ round: Int, _ positions: Range<UInt64>, _ lookup: (UInt64, inout Output) -> Void) {
      var output = Output()
      defer { output.deallocate() }
      var random = Generator(1 + 3 * round + number)
      let limit = positions.upperBound - positions.lowerBound
      var used: UInt64 = 0
      let start = threadNanoseconds()
      for _ in 0..<Self.lookups {
        output.count = 0
        lookup(positions.lowerBound &+ random.below(limit), &output)
        used &+= output.firstBlobSector
      }
      nanoseconds.append(threadNanoseconds() - start)
      precondition(used != 0)
      random = Generator(-1 - round)
      for _ in 0..<1000 {
        output.count = 0
        lookup(positions.lowerBound &+ random.below(limit), &output)
        sum &+= output.checksum
      }
    }
  }

  /// Where a lookup's mappings are copied to.
  private struct Output {
    private let mappings = UnsafeMutablePointer<Mapping>.allocate(capacity: 16)
    var count = 0

    @inline(__always)
    mutating func append(_ mapping: Mapping) {
      mappings[count] = mapping
      count &+= 1
    }

    /// Something of what was copied, so that no lookup can be left out.
    @inline(__always)
    var firstBlobSector: UInt64 { mappings[0].blobSector }

    /// Looks at all fields, which keeps the compiler from leaving out what is not looked at.
    var checksum: UInt64 {
      var sum: UInt64 = 0
      for index in 0..<count {
        let mapping = mappings[index]
        sum = sum &* 31 &+ mapping.sectors &+ mapping.blobSector << 8
        sum &+= UInt64(mapping.layer) << 56 &+ (mapping.isZeroes ? 1 << 55 : 0)
      }
      return sum
    }

    func deallocate() { mappings.deallocate() }
  }

  /// The same array, with binary search: what `SegmentMap` is measured against. No bounds checks either.
  private struct PlainIndex {
    let runs: SegmentMap.View

    /// As a standard library does it: the first run that ends after `sector`.
    @inline(__always)
    func standardSearch(_ sector: UInt64) -> Int {
      var low = 0
      var high = runs.count
      while low < high {
        let middle = (low &+ high) &>> 1
        if runs[middle].end <= sector { low = middle &+ 1 } else { high = middle }
      }
      return low
    }

    /// With the same number of steps every time, and no jump that depends on what is found.
    @inline(__always)
    func branchlessSearch(_ sector: UInt64) -> Int {
      let length = runs.count
      var bit = Int.bitWidth &- 1 &- length.leadingZeroBitCount
      let middle = (1 &<< bit) &- 1
      var index = runs[middle].end <= sector ? length &- middle &- 1 : 0
      while bit > 0 {
        bit &-= 1
        let isBefore = runs[index &+ (1 &<< bit) &- 1].end <= sector
        index &+= (isBefore ? 1 : 0) &<< bit
      }
      return index
    }

    @inline(__always)
    func copyMappings(from sector: UInt64, startingAt first: Int, _ output: inout Output) {
      let end = sector &+ LookupBench.span
      var position = sector
      var index = first
      while position < end {
        let run = runs[index]
        index &+= 1
        let reached = min(run.end, end)
        output.append(
          Mapping(
            sectors: reached &- position, blobSector: run.blobSector(of: position), layer: run.layer,
            isZeroes: run.isZeroes))
        position = reached
      }
    }
  }
}
