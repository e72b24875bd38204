extension SegmentMap {
  /// HOT: lookups in a ``SegmentMap``. A few pointers to copy around, without reference counting; valid while the map lives.
  @frozen
  public struct View: @unchecked Sendable {
    @usableFromInline let runs: UnsafePointer<Run>
    @usableFromInline let regions: UnsafePointer<Region>
    @usableFromInline let buckets: Buckets
    @usableFromInline let regionShift: UInt64
    /// Where the last run starts.
    @usableFromInline let end: UInt64
    /// Runs, at least 1.
    public let count: Int

    init(runs: UnsafePointer<Run>, count: Int, accelerator: borrowing Accelerator) {
      self.runs = runs
      self.count = count
      regions = UnsafePointer(accelerator.regions)
      buckets = accelerator.buckets
      regionShift = accelerator.regionShift
      end = accelerator.end
    }

    /// Run `index`, which must be below ``count``.
    @inlinable
    public subscript(index: Int) -> Run {
      @inline(__always) get {
        assert(index >= 0 && index < count)
        return runs[index]
      }
    }

    /// The index of the run that `sector` is in. Every sector is in one.
    @inlinable
    @inline(__always)
    public func index(of sector: UInt64) -> Int {
      if sector >= end { return count &- 1 }
      let region = regions[Int(truncatingIfNeeded: sector &>> regionShift)]
      let bucket = UInt32(truncatingIfNeeded: sector &>> UInt64(region.shift)) &+ region.bias
      let pair = buckets.pair(Int(bucket))
      let first = Int(region.firstRun) &+ pair.0
      if pair.1 &- pair.0 > 8 { return search(first, Int(region.firstRun) &+ pair.1, sector) }
      // Most often it is one of the first four: a sum finds it without a jump that could be predicted wrongly, and looks at
      // no more than one or two cache lines.
      let next = runs + first
      var index = first
      index &+= next[0].end <= sector ? 1 : 0
      index &+= next[1].end <= sector ? 1 : 0
      index &+= next[2].end <= sector ? 1 : 0
      if index &- first < 3 { return index }
      while runs[index].end <= sector { index &+= 1 }
      return index
    }

    /// Binary search for buckets that many short runs share: one of `first...last` it is, and `first < last`.
    ///
    /// The steps are powers of two, so that each is a shifted bit: of a choice between a step and none the compiler makes
    /// a jump, which would be predicted wrongly every other time.
    @inlinable
    @inline(__always)
    func search(_ first: Int, _ last: Int, _ sector: UInt64) -> Int {
      let length = last &- first
      var bit = Int.bitWidth &- 1 &- length.leadingZeroBitCount
      let middle = first &+ (1 &<< bit) &- 1
      // Either way the answer is one of 2^bit from here on.
      var index = runs[middle].end <= sector ? last &- middle &+ first : first
      while bit > 0 {
        bit &-= 1
        let isBefore = runs[index &+ (1 &<< bit) &- 1].end <= sector
        index &+= (isBefore ? 1 : 0) &<< bit
      }
      return index
    }

    /// What `count` sectors from `sector` consist of. Sectors that no layer maps are zeroes; beyond the largest device
    /// that the format can describe there is nothing.
    @inlinable
    @inline(__always)
    public func mappings(from sector: UInt64, count: UInt64) -> MappingCursor {
      MappingCursor(
        run: runs + index(of: sector), position: sector, end: min(sector &+ count, Segment.maxOffset))
    }
  }
}
