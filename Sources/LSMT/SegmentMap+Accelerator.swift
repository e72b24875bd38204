extension SegmentMap {
  /// Takes a sector to a few runs without searching.
  ///
  /// The mapped space is cut into up to 1024 regions of equal size, each region into buckets of equal size, one for every
  /// one or two runs in it. A bucket holds the index of the run that its first sector is in; so the answer for a sector
  /// lies between the values of its bucket and of the next. Regions have buckets of their own size because images are
  /// lopsided: much of a large device is mapped by a few long runs, and a small part of it by many short ones.
  ///
  /// Buckets count from the first run of their region, so that 16 bits are enough: the smaller the table, the more of it
  /// stays in the processor's cache. A map with more runs than that counts in one region has buckets of 32 bits.
  struct Accelerator: ~Copyable {
    let regions: UnsafeMutablePointer<Region>
    /// Those of all regions; each has one more, for where the next region begins.
    let buckets: Buckets
    let regionShift: UInt64
    /// Where the last run starts.
    let end: UInt64
    let byteCount: Int

    /// The most that ``byteCount`` is for `count` runs: 4 bytes a run where one region has most of them, and 16 for
    /// each region, of which there is one for four runs, up to 1024.
    static func byteLimit(forRuns count: Int) -> Int { 6 * count + 24 }

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
      let bucketCount = bucketBits.reduce(0) { $0 + (1 << Int($1)) + 1 }
      // Where the next region begins is up to one run further than the last that begins in this one.
      let isWide = population.contains { $0 >= Int(UInt16.max) }

      regions = allocateTable(of: Region.self, capacity: regionCount)
      buckets = Buckets(count: bucketCount, isWide: isWide)
      var bucket = 0
      var index = 0
      for region in 0..<regionCount {
        let start = UInt64(region) << regionShift
        let shift = regionShift - bucketBits[region]
        let bias = UInt32(truncatingIfNeeded: bucket) &- UInt32(truncatingIfNeeded: start >> shift)
        var firstRun = 0
        for number in 0...(UInt64(1) << bucketBits[region]) {
          let bucketStart = start + (number << shift)
          while runs[index].end <= bucketStart { index += 1 }
          if number == 0 { firstRun = index }
          buckets.initialize(bucket, to: index - firstRun)
          bucket += 1
        }
        (regions + region).initialize(
          to: Region(bias: bias, shift: UInt32(shift), firstRun: UInt32(firstRun)))
      }
      self.regionShift = regionShift
      self.end = end
      byteCount =
        regionCount * MemoryLayout<Region>.stride
        + bucketCount * (isWide ? MemoryLayout<UInt32>.stride : MemoryLayout<UInt16>.stride)
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
    /// The run that the region's first sector is in: its buckets count from here.
    @usableFromInline let firstRun: UInt32

    init(bias: UInt32, shift: UInt32, firstRun: UInt32) {
      self.bias = bias
      self.shift = shift
      self.firstRun = firstRun
    }
  }

  /// HOT: a table of buckets of 16 or of 32 bits. Which is the same for all lookups in a map, so that the jump costs nothing.
  @frozen
  @usableFromInline
  struct Buckets {
    @usableFromInline let table: UnsafeMutableRawPointer
    @usableFromInline let isWide: Bool

    /// Not initialized.
    init(count: Int, isWide: Bool) {
      self.isWide = isWide
      table =
        isWide
        ? UnsafeMutableRawPointer(allocateTable(of: UInt32.self, capacity: count))
        : UnsafeMutableRawPointer(allocateTable(of: UInt16.self, capacity: count))
    }

    func initialize(_ bucket: Int, to value: Int) {
      if isWide {
        (table.assumingMemoryBound(to: UInt32.self) + bucket).initialize(to: UInt32(value))
      } else {
        (table.assumingMemoryBound(to: UInt16.self) + bucket).initialize(to: UInt16(value))
      }
    }

    /// The value of a bucket and of the next one.
    @inlinable
    @inline(__always)
    func pair(_ bucket: Int) -> (Int, Int) {
      if isWide {
        let pair = table.assumingMemoryBound(to: UInt32.self) + bucket
        return (Int(pair[0]), Int(pair[1]))
      }
      let pair = table.assumingMemoryBound(to: UInt16.self) + bucket
      return (Int(pair[0]), Int(pair[1]))
    }

    func deallocate() { table.deallocate() }
  }
}
