import LSMT
import Testing

@Suite("Lookups")
struct LookupTests {
  /// How segments are spread over the device.
  enum Shape: CaseIterable {
    case even, dense, clustered, twoClusters, exponential

    func segments(_ count: Int, using random: inout Random) -> [Segment] {
      var result: [Segment] = []
      var sector: UInt64 = 0
      for index in 0..<count {
        switch self {
        case .even: sector += random.below(64)
        case .dense: break
        case .clustered: if index == 1 || index == count - 1 { sector += 1 << 36 }
        case .twoClusters: if index == count / 2 { sector += 1 << 40 }
        case .exponential: sector += UInt64(1) << UInt64(index * 40 / count)
        }
        let length = 1 + random.below(UInt64(self == .dense ? 2 : 64))
        result.append(Segment(offset: sector, length: UInt32(length), moffset: 8, isZeroed: index % 2 == 0))
        sector += length
      }
      return result
    }
  }

  @Test(
    "Every segment is found from each of its ends, however segments are spread", arguments: Shape.allCases)
  func firstIndex(shape: Shape) throws {
    for (seed, count) in zip(UInt64(1)..., [1, 2, 7, 8, 9, 16, 100, 1000, 20000]) {
      var random = Random(seed: seed)
      let segments = shape.segments(count, using: &random)
      let map = try SegmentMap(layers: [segments], virtualSize: segments.last!.end * 512)
      let view = map.view
      var previousEnd: UInt64 = 0
      var wrong: [Int] = []
      for (index, segment) in segments.enumerated() {
        let isRight =
          view.firstIndex(endingAfter: previousEnd) == index
          && view.firstIndex(endingAfter: segment.offset) == index
          && view.firstIndex(endingAfter: (previousEnd + segment.offset) / 2) == index
          && view.firstIndex(endingAfter: segment.end - 1) == index
        if !isRight { wrong.append(index) }
        previousEnd = segment.end
      }
      #expect(wrong.isEmpty, "seed \(seed), \(count) segments")
      #expect(view.firstIndex(endingAfter: previousEnd) == count)
      #expect(view.firstIndex(endingAfter: .max) == count)
    }
  }

  @Test("The accelerator takes at most half of the memory of the segments", arguments: Shape.allCases)
  func acceleratorSize(shape: Shape) throws {
    for count in [16, 17, 19, 31, 32, 100, 5000, 30000] {
      var random = Random(seed: 1)
      let segments = shape.segments(count, using: &random)
      let map = try SegmentMap(layers: [segments], virtualSize: segments.last!.end * 512)
      let bytes = map.acceleratorByteCount
      #expect(bytes <= count * Segment.size / 2, "\(count) segments, \(bytes) bytes")
    }
  }

  @Test("Contiguous segments of one layer are one mapping, others are not")
  func joining() throws {
    let lower = [Segment(offset: 0, length: 30, moffset: 100), Segment(offset: 30, length: 10, moffset: 500)]
    let upper = [
      Segment(offset: 4, length: 4, moffset: 8), Segment(offset: 8, length: 4, moffset: 12),
      Segment(offset: 12, length: 4, moffset: 20),
      Segment(offset: 16, length: 1, moffset: 24, isZeroed: true),
      Segment(offset: 17, length: 1, moffset: 24, isZeroed: true),
    ]
    let map = try SegmentMap(layers: [lower, upper], virtualSize: 50 * 512)
    let found = map.mappings(from: 2, count: 48)
    #expect(
      found == [
        Mapping(sectors: 2, blobSector: 102, layer: 0, isZeroes: false),
        Mapping(sectors: 8, blobSector: 8, layer: 1, isZeroes: false),
        Mapping(sectors: 4, blobSector: 20, layer: 1, isZeroes: false),
        Mapping(sectors: 2, blobSector: 0, layer: 0, isZeroes: true),
        Mapping(sectors: 12, blobSector: 118, layer: 0, isZeroes: false),
        Mapping(sectors: 10, blobSector: 500, layer: 0, isZeroes: false),
        Mapping(sectors: 10, blobSector: 0, layer: 0, isZeroes: true),
      ])
  }

  @Test("An empty stack reads as zeroes, and an impossible range as nothing")
  func emptyStack() throws {
    let map = try SegmentMap(layers: [], virtualSize: 1 << 30)
    #expect(map.mappings(from: 5, count: 7) == [Mapping(sectors: 7, blobSector: 0, layer: 0, isZeroes: true)])
    #expect(map.mappings(from: 5, count: 0).isEmpty)
    #expect(map.mappings(from: .max, count: 8).isEmpty)
    #expect(map.mappings(from: 1 << 50, count: 8).isEmpty)
  }

  @Test("Stacks that cannot be merged are refused")
  func refusals() throws {
    #expect(throws: LSMTError.tooManyLayers(count: 256, limit: 255)) {
      _ = try SegmentMap(layers: Array(repeating: [], count: 256), virtualSize: 512)
    }
    let size = SegmentMap.maxVirtualSize
    #expect(throws: LSMTError.virtualSizeTooLarge(bytes: size + 1, limit: size)) {
      _ = try SegmentMap(layers: [], virtualSize: size + 1)
    }
    let overlapping = [Segment(offset: 0, length: 8, moffset: 8), Segment(offset: 7, length: 8, moffset: 16)]
    #expect(throws: LSMTError.unsortedLayer(layer: 1, segment: 1)) {
      _ = try SegmentMap(layers: [[], overlapping], virtualSize: 1 << 20)
    }
  }
}
