import LSMT
import Testing

@Suite("Lookups")
struct LookupTests {
  /// How segments are spread over the device.
  enum Shape: CaseIterable {
    case even, dense, clustered, twoClusters, exponential, beyond32Bits, crowd, giant

    func segments(_ count: Int, using random: inout Random) -> [Segment] {
      var result: [Segment] = []
      var sector: UInt64 = 0
      for index in 0..<count {
        var length = 1 + random.below(UInt64(self == .dense ? 2 : 64))
        switch self {
        case .even: sector += random.below(64)
        case .dense: break
        case .clustered: if index == 1 || index == count - 1 { sector += 1 << 36 }
        case .twoClusters: if index == count / 2 { sector += 1 << 40 }
        case .exponential: sector += UInt64(1) << UInt64(index * 40 / count)
        case .beyond32Bits: sector += index == 0 ? (1 << 32) - 64 : random.below(1 << 24)
        case .crowd:
          // All but one sector by sector at the end of the largest device.
          if index == 1 { sector = Segment.maxOffset - UInt64(count) }
          length = 1
        case .giant:
          // One after the other as long as can be, contiguous or not.
          length = Segment.maxLength
        }
        // Neighbours are different runs: data, and every other one zeroes; giants are data, and a few go on.
        result.append(
          Segment(
            offset: sector, length: UInt32(length), moffset: 8 + sector + (self == .giant ? UInt64(index / 3) : 0),
            isZeroed: self != .giant && index % 2 == 0))
        sector += length
      }
      return result
    }
  }

  @Test("Every run is found from each of its ends, however segments are spread", arguments: Shape.allCases)
  func index(shape: Shape) throws {
    var counts = [1, 2, 7, 8, 9, 16, 100, 1000, 20000]
    // Around the number of runs in one region that 16 bits can count.
    if shape == .crowd { counts += [65534, 65535, 65536, 65537, 70000] }
    for (seed, count) in zip(UInt64(1)..., counts) {
      var random = Random(seed: seed)
      let segments = shape.segments(count, using: &random)
      let map = try SegmentMap(layers: [segments], virtualSize: segments.last!.end * 512)
      let view = map.view
      let expected = joinedMappings(of: segments)
      var start: UInt64 = 0
      var wrong: [Int] = []
      for (index, run) in expected.enumerated() {
        let end = start + run.sectors
        let isRight =
          [start, (start + end) / 2, end - 1].allSatisfy { view.index(of: $0) == index }
          && map.mappings(from: start, count: run.sectors) == [run]
        if !isRight { wrong.append(index) }
        start = end
      }
      #expect(wrong.isEmpty, "seed \(seed), \(count) segments")
      // The last run of zeroes goes on, or comes after the last segment.
      let last = view.count - 1
      #expect(last == expected.count - (expected.last!.isZeroes ? 1 : 0), "seed \(seed), \(count) segments")
      #expect(view.index(of: start) == last && view.index(of: .max) == last, "seed \(seed)")
      #expect(map.segmentCount == count)
    }
  }

  @Test("A segment beyond 2^32 sectors is found there, and not where 32 bits of its number point")
  func oneSegment() throws {
    let segment = Segment(offset: 1 << 33, length: UInt32(Segment.maxLength), moffset: 1 << 35)
    let map = try SegmentMap(layers: [[segment]], virtualSize: 1 << 50)
    let before = Mapping(sectors: 1, blobSector: 0, layer: 0, isZeroes: true)
    for distance in [0, 1, 8000, Segment.maxLength - 2] {
      let data = Mapping(sectors: 1, blobSector: segment.moffset + distance, layer: 0, isZeroes: false)
      #expect(map.mappings(from: segment.offset + distance, count: 1) == [data])
      // The same sector, were its number cut to 32 bits.
      #expect(map.mappings(from: distance, count: 1) == [before])
    }
    #expect(map.mappings(from: segment.offset - 1, count: 1) == [before])
    #expect(map.mappings(from: segment.end, count: 1) == [before])
  }

  @Test("The map takes at most 22 bytes for a run, and has at most two runs for a segment", arguments: Shape.allCases)
  func size(shape: Shape) throws {
    for count in [1, 2, 3, 16, 17, 19, 31, 32, 100, 5000, 30000] {
      var random = Random(seed: 1)
      let segments = shape.segments(count, using: &random)
      let map = try SegmentMap(layers: [segments], virtualSize: segments.last!.end * 512)
      #expect(map.view.count <= 2 * count + 1)
      #expect(map.byteCount <= 22 * map.view.count + 100, "\(count) segments")
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

  @Test("A map of nothing reads as zeroes, and an impossible range as nothing", arguments: [0, 1])
  func nothing(layers: Int) throws {
    let map = try SegmentMap(layers: Array(repeating: [], count: layers), virtualSize: 1 << 30)
    #expect(map.view.count == 1 && map.view.index(of: 0) == 0 && map.view.index(of: .max) == 0)
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
