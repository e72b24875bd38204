extension SegmentMap {
  /// HOT: lookups in a ``SegmentMap``. A few pointers to copy around, without reference counting; valid while the map lives.
  @frozen
  public struct View: @unchecked Sendable {
    @usableFromInline let segments: UnsafePointer<Segment>
    @usableFromInline let buckets: UnsafePointer<UInt32>
    @usableFromInline let regions: UnsafePointer<Region>
    @usableFromInline let regionShift: UInt64
    @usableFromInline let end: UInt64
    /// Segments of the merged index.
    public let count: Int

    init(
      segments: UnsafePointer<Segment>, count: Int, buckets: UnsafePointer<UInt32>,
      regions: UnsafePointer<Region>,
      regionShift: UInt64, end: UInt64
    ) {
      self.segments = segments
      self.count = count
      self.buckets = buckets
      self.regions = regions
      self.regionShift = regionShift
      self.end = end
    }

    /// Segment `index`, which must be below ``count``.
    @inlinable
    public subscript(index: Int) -> Segment {
      @inline(__always) get {
        assert(index >= 0 && index < count)
        return segments[index]
      }
    }

    /// The index of the first segment that ends after `sector`: the one that maps it, or the next one. ``count`` when
    /// nothing is mapped from there on.
    @inlinable
    @inline(__always)
    public func firstIndex(endingAfter sector: UInt64) -> Int {
      if sector >= end { return count }
      let region = regions[Int(truncatingIfNeeded: sector &>> regionShift)]
      let bucket = UInt32(truncatingIfNeeded: sector &>> UInt64(region.shift)) &+ region.bias
      var index = Int(buckets[Int(bucket)])
      let last = Int(buckets[Int(bucket) &+ 1])
      if last &- index > 4 { return search(index, last, sector) }
      // It is one of the next five; a sum finds it without a jump that could be predicted wrongly.
      // `segments[last]` ends after the bucket, or is the padding after all segments.
      let next = segments + index
      index &+= next[0].end <= sector ? 1 : 0
      index &+= next[1].end <= sector ? 1 : 0
      index &+= next[2].end <= sector ? 1 : 0
      index &+= next[3].end <= sector ? 1 : 0
      return index
    }

    /// Binary search for buckets that many short segments share: one of `first...last` it is, and `first < last`.
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
      var index = segments[middle].end <= sector ? last &- middle &+ first : first
      while bit > 0 {
        bit &-= 1
        let isBefore = segments[index &+ (1 &<< bit) &- 1].end <= sector
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
        next: segments + firstIndex(endingAfter: sector), position: sector,
        end: min(sector &+ count, Segment.maxOffset))
    }
  }
}
