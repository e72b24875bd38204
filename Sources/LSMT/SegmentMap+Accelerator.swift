extension SegmentMap {
  /// Takes a sector to a few runs without searching.
  ///
  /// The mapped space is cut into up to 1024 regions of equal size, each region into buckets of equal size, one for every
  /// one or two runs in it. A bucket holds the index of the run that its first sector is in; so the answer for a sector
  /// lies between the values of its bucket and of the next. Regions have buckets of their own size because images are
  /// lopsided: much of a large device is mapped by a few long runs, and a small part of it by many short ones.
  struct Accelerator: ~Copyable {
    let buckets: UnsafeMutablePointer<UInt32>
    let regions: UnsafeMutablePointer<Region>
    let regionShift: UInt64
    /// Where the last run starts.
    let end: UInt64
    let byteCount: Int

    /// The most that ``byteCount`` is for `count` runs: a bucket for each run and each region, and 8 bytes for each region, of
    /// which there is one for four runs.
    static func byteLimit(forRuns count: Int) -> Int { 7 * count + 16 }

    /// `runs` are what ``Run/write(_:to:)`` made.
    init(_ runs: UnsafePointer<Run>, count: Int) {
      let end = count > 1 ? runs[count - 2].end : 0
      let regionLimit = UInt64(max(1, min(1024, count / 4)))
      var regionShift: UInt64 = 0
      let lastSector = max(end, 1) - 1
      while lastSector >> regionShift >= regionLimit { regionShift += 1 }
      let regionCount = Int(lastSector >> regionShift) + 1

      // The last run is not counted: a sector in it needs no bucket.
      var population = [Int](repeating: 0, count: regionCount)
      var start: UInt64 = 0
      for index in 0..<count - 1 {
        population[Int(start >> regionShift)] += 1
        start = runs[index].end
      }
      let bucketBits = population.map { min(Self.bucketBits(forRuns: $0), regionShift) }
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
          while runs[index].end <= bucketStart { index += 1 }
          (buckets + bucket).initialize(to: UInt32(index))
          bucket += 1
        }
      }
      (buckets + bucket).initialize(to: UInt32(count - 1))
      self.regionShift = regionShift
      self.end = end
      byteCount =
        regionCount * MemoryLayout<Region>.stride + (bucketCount + 1) * MemoryLayout<UInt32>.stride
    }

    deinit {
      buckets.deallocate()
      regions.deallocate()
    }

    /// log2 of the buckets of a region: the largest power of two up to its runs.
    private static func bucketBits(forRuns count: Int) -> UInt64 {
      UInt64(Int.bitWidth - 1 - max(1, count).leadingZeroBitCount)
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
