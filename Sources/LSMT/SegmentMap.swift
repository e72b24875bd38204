/// The merged index of a stack of read-only layers: for every device sector the layer that has it. Built once, then
/// immutable; lookups go through ``view``.
///
/// The segments are one sorted array. An accelerator beside it (see `SegmentMap+Accelerator.swift`) takes a sector to its
/// segment in two small table loads, in at most half of the memory that the segments take.
public struct SegmentMap: ~Copyable, @unchecked Sendable {
  /// The most layers of a stack: a layer's number has 8 bits, and one value is left for a writable layer on top.
  public static let maxLayers = 255
  /// The most segments that a merged index may have.
  public static let maxSegments = 128_000_000
  /// The most bytes that a device can have: the last sector value of the format means "padding".
  public static let maxVirtualSize = Segment.maxOffset * UInt64(sectorSize)

  /// Lookups may look at segments after the last, and find some that begin beyond any device.
  private static let paddingCount = 4

  /// What of a layer can be seen through the ones above it.
  public struct LayerUsage: Equatable, Sendable {
    /// Segments of the merged index that belong to the layer.
    public var segmentCount = 0
    /// Sectors that are read from the layer's blob.
    public var dataSectors: UInt64 = 0
    /// Sectors that read as zeroes because the layer says so.
    public var zeroedSectors: UInt64 = 0
  }

  private let segments: UnsafeMutablePointer<Segment>
  private let accelerator: Accelerator

  /// Segments of the merged index.
  public let count: Int
  /// Layers that were merged.
  public let layerCount: Int

  /// Merges `layers`, bottom to top, each as ``SealedIndex/decode(_:)`` returned it, and clips them to `virtualSize`
  /// bytes (a last incomplete sector counts). The tag of a resulting segment is the number of its layer, 0 = bottom.
  public init(layers: [[Segment]], virtualSize: UInt64) throws(LSMTError) {
    guard layers.count <= Self.maxLayers else {
      throw .tooManyLayers(count: layers.count, limit: Self.maxLayers)
    }
    guard virtualSize <= Self.maxVirtualSize else {
      throw .virtualSizeTooLarge(bytes: virtualSize, limit: Self.maxVirtualSize)
    }
    let sectors = virtualSize / UInt64(sectorSize) + (virtualSize % UInt64(sectorSize) == 0 ? 0 : 1)
    var clipped: [[Segment]] = []
    for (number, layer) in layers.enumerated() {
      clipped.append(try Self.clipped(layer, number: number, to: sectors))
    }
    let merged = mergedStack(&clipped)
    guard merged.count <= Self.maxSegments else {
      throw .tooManyEntries(count: UInt64(merged.count), limit: UInt64(Self.maxSegments))
    }
    count = merged.count
    layerCount = layers.count
    let storage = Self.allocateTable(of: Segment.self, capacity: merged.count + Self.paddingCount)
    for index in 0..<merged.count { (storage + index).initialize(to: merged[index]) }
    (storage + merged.count).initialize(repeating: .padding, count: Self.paddingCount)
    segments = storage
    accelerator = Accelerator(storage, count: merged.count)
    #if WARMBLK_CHECKS
      checkInvariants(sectors: sectors)
    #endif
  }

  deinit {
    segments.deallocate()
    accelerator.deallocate()
  }

  /// The part of a layer below `sectors`, tagged with its number.
  private static func clipped(_ layer: [Segment], number: Int, to sectors: UInt64) throws(LSMTError)
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

  /// Bytes of the lookup accelerator, at most half of ``segmentByteCount`` when there are 16 segments or more.
  public var acceleratorByteCount: Int { accelerator.byteCount }

  /// Bytes of the segments.
  public var segmentByteCount: Int { count * Segment.size }

  /// For lookups. Valid as long as the map lives: whoever keeps a view keeps its map.
  public var view: View {
    View(
      segments: segments, count: count, buckets: accelerator.buckets, regions: accelerator.regions,
      regionShift: accelerator.regionShift, end: accelerator.end)
  }

  /// What can be seen of each layer, bottom to top.
  public func usage() -> [LayerUsage] {
    var result = [LayerUsage](repeating: LayerUsage(), count: layerCount)
    for index in 0..<count {
      let segment = segments[index]
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
}

#if WARMBLK_CHECKS
  extension SegmentMap {
    /// Walks everything that lookups rely on.
    private func checkInvariants(sectors: UInt64) {
      var previousEnd: UInt64 = 0
      let view = view
      for index in 0..<count {
        let segment = segments[index]
        precondition(segment.length > 0 && segment.offset >= previousEnd && segment.end <= sectors)
        precondition(Int(segment.tag) < layerCount)
        // A sector before, at the begin of, and at the end of each segment.
        if segment.offset > previousEnd {
          precondition(view.firstIndex(endingAfter: segment.offset - 1) == index)
        }
        precondition(view.firstIndex(endingAfter: segment.offset) == index)
        precondition(view.firstIndex(endingAfter: segment.end - 1) == index)
        precondition(view.firstIndex(endingAfter: segment.end) == index + 1)
        previousEnd = segment.end
      }
      precondition(segments[count].isPadding)
      precondition(count < 16 || acceleratorByteCount <= segmentByteCount / 2)
    }
  }
#endif
