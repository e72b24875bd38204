import Foundation
import LSMT

extension Segment {
  /// `other` with another tag.
  init(_ other: Segment, tag: UInt8) {
    self.init(
      offset: other.offset, length: other.length, moffset: other.moffset, isZeroed: other.isZeroed, tag: tag)
  }
}

extension SegmentMap {
  /// All runs of the map.
  var runs: [Run] {
    let view = view
    return (0..<view.count).map { view[$0] }
  }

  /// All mappings of a range.
  func mappings(from sector: UInt64, count: UInt64) -> [Mapping] {
    var cursor = view.mappings(from: sector, count: count)
    var result: [Mapping] = []
    while let mapping = cursor.next() { result.append(mapping) }
    return result
  }
}

/// What sorted segments, whose tags are their layers, amount to up to the end of the last: no search, and nothing of ``Run``.
func joinedMappings(of segments: [Segment]) -> [Mapping] {
  var result: [Mapping] = []
  func append(_ mapping: Mapping) {
    if let last = result.last, last.isZeroes == mapping.isZeroes, last.layer == mapping.layer,
      mapping.isZeroes || last.blobSector + last.sectors == mapping.blobSector
    {
      result[result.count - 1] = Mapping(
        sectors: last.sectors + mapping.sectors, blobSector: last.blobSector, layer: last.layer,
        isZeroes: last.isZeroes)
    } else {
      result.append(mapping)
    }
  }
  var reached: UInt64 = 0
  for segment in segments {
    if segment.offset > reached {
      append(Mapping(sectors: segment.offset - reached, blobSector: 0, layer: 0, isZeroes: true))
    }
    append(
      Mapping(
        sectors: UInt64(segment.length), blobSector: segment.isZeroed ? 0 : segment.moffset,
        layer: segment.isZeroed ? 0 : segment.tag, isZeroes: segment.isZeroed))
    reached = segment.end
  }
  return result
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Random: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func below(_ limit: UInt64) -> UInt64 { UInt64.random(in: 0..<limit, using: &self) }
  mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }
  mutating func chance(_ percent: Int) -> Bool { below(100 as Int) < percent }

  /// The seeds of a random test: 1...count, or only the one that `WARMBLK_SEED` names.
  static func seeds(_ count: UInt64) -> [UInt64] {
    if let text = ProcessInfo.processInfo.environment["WARMBLK_SEED"], let seed = UInt64(text) {
      return [seed]
    }
    return Array(1...count)
  }
}
