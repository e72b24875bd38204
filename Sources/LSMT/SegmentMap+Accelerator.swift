extension SegmentMap {
  /// Takes a sector to a few segments without searching.
  ///
  /// The mapped space is cut into up to 1024 regions of equal size, each region into buckets of equal size, about one for
  /// every segment in it. A bucket holds the index of the first segment that ends after the bucket begins; so the answer
  /// for a sector lies between the values of its bucket and of the next. Regions have buckets of their own size
  /// because images are lopsided: much of a large device is mapped by a few long runs, and a small part of it by many
  /// short ones.
  struct Accelerator {
    let buckets: UnsafeMutablePointer<UInt32>
    let regions: UnsafeMutablePointer<Region>
    let regionShift: UInt64
    /// The sector after the last mapped one.
    let end: UInt64
    let byteCount: Int

    /// `segments` are sorted and disjoint.
    init(_ segments: UnsafePointer<Segment>, count: Int) {
      let end = count == 0 ? 0 : segments[count - 1].end
      let regionLimit = UInt64(max(1, min(1024, count / 16)))
      var regionShift: UInt64 = 0
      let lastMapped = max(end, 1) - 1
      while lastMapped >> regionShift >= regionLimit { regionShift += 1 }
      let regionCount = Int(lastMapped >> regionShift) + 1

      var population = [Int](repeating: 0, count: regionCount)
      for index in 0..<count { population[Int(segments[index].offset >> regionShift)] += 1 }
      let bucketBits = population.map { min(Self.bucketBits(forSegments: $0), regionShift) }
      let bucketCount = bucketBits.reduce(0) { $0 + (1 << Int($1)) }

      regions = allocateTable(of: Region.self, capacity: regionCount)
      buckets = allocateTable(of: UInt32.self, capacity: bucketCount + 1)
      var bucket = 0
      var index = 0
      for region in 0..<regionCount {
        let start = UInt64(region) << regionShift
        let shift = regionShift - bucketBits[region]
        let bias = UInt32(truncatingIfNeeded: bucket) &- UInt32(truncatingIfNeeded: start >> shift)
        (regions + region).initialize(to: Region(bias: bias, shift: UInt32(shift)))
        for number in 0..<(UInt64(1) << bucketBits[region]) {
          let bucketStart = start + (number << shift)
          while index < count, segments[index].end <= bucketStart { index += 1 }
          (buckets + bucket).initialize(to: UInt32(index))
          bucket += 1
        }
      }
      (buckets + bucket).initialize(to: UInt32(count))
      self.regionShift = regionShift
      self.end = end
      byteCount =
        regionCount * MemoryLayout<Region>.stride + (bucketCount + 1) * MemoryLayout<UInt32>.stride
    }

    /// log2 of the buckets of a region: the largest power of two up to 7/4 of its segments, so 7/8 to 7/4 for each segment.
    private static func bucketBits(forSegments count: Int) -> UInt64 {
      let wanted = max(1, count * 7 / 4)
      return UInt64(Int.bitWidth - 1 - wanted.leadingZeroBitCount)
    }

    func deallocate() {
      buckets.deallocate()
      regions.deallocate()
    }
  }

  /// How a region's sectors are spread over its buckets: sector `s` is in bucket `(s >> shift) + bias`, in 32-bit
  /// arithmetic that wraps.
  @frozen
  @usableFromInline
  struct Region: BitwiseCopyable {
    @usableFromInline let bias: UInt32
    @usableFromInline let shift: UInt32

    init(bias: UInt32, shift: UInt32) {
      self.bias = bias
      self.shift = shift
    }
  }
}
