/// The merged index of a stack of read-only layers: for every device sector the layer that has it. Built once, then
/// immutable; lookups go through ``view``.
///
/// It is one sorted array of ``Run``s, 16 bytes each. An accelerator beside it (see `SegmentMap+Accelerator.swift`) takes a
/// sector to its run in two small table loads, in at most 6 bytes for each run.
public struct SegmentMap: ~Copyable, @unchecked Sendable {
  /// The most layers of a stack: a layer's number has 8 bits, and one value is left for a writable layer on top.
  public static let maxLayers = 255
  /// The most segments that a merged index may have.
  public static let maxSegments = 128_000_000
  /// The most bytes that a device can have: the last sector value of the format means "padding".
  public static let maxVirtualSize = Segment.maxOffset * UInt64(sectorSize)

  /// Lookups look at up to so many runs after the last, and find that they end beyond any sector.
  private static let paddingCount = 2

  /// What of a layer can be seen through the ones above it.
  public struct LayerUsage: Equatable, Sendable {
    /// Segments of the merged index that belong to the layer.
    public var segmentCount = 0
    /// Sectors that are read from the layer's blob.
    public var dataSectors: UInt64 = 0
    /// Sectors that read as zeroes because the layer says so.
    public var zeroedSectors: UInt64 = 0
  }

  private let runs: UnsafeMutablePointer<Run>
  private let runCount: Int
  private let accelerator: Accelerator

  /// Segments that can be seen: those of all layers, without what higher layers hide.
  public let segmentCount: Int
  /// What can be seen of each layer, bottom to top.
  public let usage: [LayerUsage]

  /// Merges `layers`, bottom to top, each as ``SealedIndex/decode(_:)`` returned it, and clips them to `virtualSize`
  /// bytes (a last incomplete sector counts). The tag of a resulting segment is the number of its layer, 0 = bottom.
  public init(layers: [[Segment]], virtualSize: UInt64) throws(LSMTError) {
    let sectors = try Self.sectors(layers: layers.count, virtualSize: virtualSize)
    var clipped: [[Segment]] = []
    for (number, layer) in layers.enumerated() {
      clipped.append(try Self.clipped(layer, number: number, to: sectors))
    }
    try self.init(merged: mergedStack(&clipped), layers: layers.count, sectors: sectors)
  }

  /// From what ``mergedStack(_:)`` made of so many layers, within `sectors`.
  init(merged: [Segment], layers: Int, sectors: UInt64) throws(LSMTError) {
    guard merged.count <= Self.maxSegments else {
      throw .tooManyEntries(count: UInt64(merged.count), limit: UInt64(Self.maxSegments))
    }
    segmentCount = merged.count
    usage = Self.usage(of: merged, layers: layers)
    runCount = Run.write(merged, to: nil)
    runs = Self.allocateTable(of: Run.self, capacity: runCount + Self.paddingCount)
    _ = Run.write(merged, to: runs)
    (runs + runCount).initialize(repeating: Run(end: .max, source: 0), count: Self.paddingCount)
    accelerator = Accelerator(runs, count: runCount)
    #if WARMBLK_CHECKS
      checkInvariants(merged, sectors: sectors)
    #endif
  }

  deinit { runs.deallocate() }

  /// The sectors of a device of `virtualSize` bytes; refuses what no map can have.
  static func sectors(layers: Int, virtualSize: UInt64) throws(LSMTError) -> UInt64 {
    guard layers <= maxLayers else { throw .tooManyLayers(count: layers, limit: maxLayers) }
    guard virtualSize <= maxVirtualSize else {
      throw .virtualSizeTooLarge(bytes: virtualSize, limit: maxVirtualSize)
    }
    return virtualSize / UInt64(sectorSize) + (virtualSize % UInt64(sectorSize) == 0 ? 0 : 1)
  }

  /// The part of a layer below `sectors`, tagged with its number.
  static func clipped(_ layer: [Segment], number: Int, to sectors: UInt64) throws(LSMTError)
    -> [Segment]
  {
    var result: [Segment] = []
    result.reserveCapacity(layer.count)
    var previousEnd: UInt64 = 0
    for (position, segment) in layer.enumerated() where segment.length > 0 {
      guard segment.offset >= previousEnd else { throw .unsortedLayer(layer: number, segment: position) }
      previousEnd = segment.end
      if segment.offset >= sectors { continue }
      result.append(
        segment.trimmed(from: segment.offset, to: min(segment.end, sectors)).tagged(UInt8(number)))
    }
    return result
  }

  private static func usage(of segments: [Segment], layers: Int) -> [LayerUsage] {
    var result = [LayerUsage](repeating: LayerUsage(), count: layers)
    for segment in segments {
      let layer = Int(segment.tag)
      result[layer].segmentCount += 1
      if segment.isZeroed {
        result[layer].zeroedSectors += UInt64(segment.length)
      } else {
        result[layer].dataSectors += UInt64(segment.length)
      }
    }
    return result
  }

  /// Bytes that the map holds: 16 for a run, at most 6 more for its accelerator, and less than 100.
  public var byteCount: Int {
    (runCount + Self.paddingCount) * MemoryLayout<Run>.stride + accelerator.byteCount
  }

  /// For lookups. Valid as long as the map lives: whoever keeps a view keeps its map.
  public var view: View { View(runs: runs, count: runCount, accelerator: accelerator) }
}

#if WARMBLK_CHECKS
  extension SegmentMap {
    /// Walks everything that lookups rely on, and compares it with what was merged.
    private func checkInvariants(_ merged: [Segment], sectors: UInt64) {
      precondition(runs[runCount - 1] == Run(end: .max, source: Run.zeroes))
      precondition(runCount <= 2 * merged.count + 1)
      precondition(accelerator.byteCount <= Accelerator.byteLimit(forRuns: runCount))
      let view = view
      var start: UInt64 = 0
      for index in 0..<runCount {
        precondition(runs[index].end > start)
        precondition(index == 0 || runs[index].source != runs[index - 1].source)
        // The ends of each run.
        precondition(view.index(of: start) == index)
        precondition(view.index(of: runs[index].end - 1) == index)
        start = runs[index].end
      }
      var reached: UInt64 = 0
      for segment in merged {
        precondition(segment.length > 0 && segment.offset >= reached && segment.end <= sectors)
        precondition(Int(segment.tag) < usage.count)
        if segment.offset > reached {
          precondition(view.mapping(of: reached) == .zeroes && view.mapping(of: segment.offset - 1) == .zeroes)
        }
        for sector in [segment.offset, segment.end - 1] {
          let expected = segment.trimmed(from: sector, to: sector + 1)
          let isRight =
            segment.isZeroed
            ? view.mapping(of: sector) == .zeroes
            : view.mapping(of: sector)
              == Mapping(sectors: 1, blobSector: expected.moffset, layer: segment.tag, isZeroes: false)
          precondition(isRight)
        }
        reached = segment.end
      }
    }
  }

  extension SegmentMap.View {
    fileprivate func mapping(of sector: UInt64) -> Mapping? {
      var cursor = mappings(from: sector, count: 1)
      return cursor.next()
    }
  }

  extension Mapping {
    fileprivate static let zeroes = Mapping(sectors: 1, blobSector: 0, layer: 0, isZeroes: true)
  }
#endif
