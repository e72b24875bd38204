import LSMT
import Testing

/// A device sector by sector: slow, and too simple to be wrong.
private struct Model {
  /// What a sector shows.
  enum Sector: Equatable {
    case unmapped
    case zeroed(layer: Int)
    case data(layer: Int, blobSector: UInt64)
  }

  /// The first sectors of the parts of the device that are modelled; layers map nothing elsewhere.
  let islands: [UInt64]
  let islandSize: UInt64
  var sectors: [Sector]

  init(islands: [UInt64], islandSize: UInt64) {
    self.islands = islands
    self.islandSize = islandSize
    sectors = Array(repeating: .unmapped, count: islands.count * Int(islandSize))
  }

  mutating func add(_ segment: Segment, island: Int, layer: Int) {
    let start = Int(segment.offset - islands[island]) + island * Int(islandSize)
    for distance in 0..<Int(segment.length) where start + distance < (island + 1) * Int(islandSize) {
      sectors[start + distance] =
        segment.isZeroed
        ? .zeroed(layer: layer) : .data(layer: layer, blobSector: segment.moffset + UInt64(distance))
    }
  }

  /// The mappings of `count` sectors from `start` in an island.
  func mappings(island: Int, from start: UInt64, count: UInt64) -> [Mapping] {
    let first = island * Int(islandSize) + Int(start)
    var result: [Mapping] = []
    for sector in sectors[first..<first + Int(count)] {
      if case .data(let layer, let blobSector) = sector {
        if let last = result.last, !last.isZeroes, Int(last.layer) == layer,
          last.blobSector + last.sectors == blobSector
        {
          result[result.count - 1] = last.extended
        } else {
          result.append(Mapping(sectors: 1, blobSector: blobSector, layer: UInt8(layer), isZeroes: false))
        }
      } else if let last = result.last, last.isZeroes {
        result[result.count - 1] = last.extended
      } else {
        result.append(Mapping(sectors: 1, blobSector: 0, layer: 0, isZeroes: true))
      }
    }
    return result
  }

  func usage(layers: Int) -> [(data: UInt64, zeroed: UInt64)] {
    var result = [(data: UInt64, zeroed: UInt64)](repeating: (0, 0), count: layers)
    for sector in sectors {
      switch sector {
      case .unmapped: break
      case .zeroed(let layer): result[layer].zeroed += 1
      case .data(let layer, _): result[layer].data += 1
      }
    }
    return result
  }
}

extension Mapping {
  fileprivate var extended: Mapping {
    Mapping(sectors: sectors + 1, blobSector: blobSector, layer: layer, isZeroes: isZeroes)
  }
}

/// A random stack of layers and its model.
private struct Stack {
  var layers: [[Segment]] = []
  var model: Model
  var virtualSize: UInt64

  init(layers count: Int, islands: [UInt64], islandSize: UInt64, longest: UInt64, using random: inout Random) {
    model = Model(islands: islands, islandSize: islandSize)
    virtualSize = (islands.last! + islandSize) * 512
    for layer in 0..<count {
      var segments: [Segment] = []
      var moffset: UInt64 = 8 + random.below(100)
      let gap = 1 + random.below(islandSize)
      for (island, base) in islands.enumerated() {
        // Adjacent, now and then contiguous in the blob too, so that there is something to join.
        var sector = random.below(gap)
        while sector < islandSize {
          let room = island + 1 == islands.count ? longest : min(longest, islandSize - sector)
          let length = 1 + random.below(room)
          let segment = Segment(
            offset: base + sector, length: UInt32(length), moffset: moffset, isZeroed: random.chance(25),
            tag: UInt8(random.below(256)))
          segments.append(segment)
          model.add(segment, island: island, layer: layer)
          if random.chance(60), !segment.isZeroed {
            moffset += length
          } else {
            moffset = 8 + random.below(1 << 40)
          }
          sector += length + (random.chance(40) ? 0 : random.below(gap))
        }
      }
      layers.append(segments)
    }
  }

  /// Compares whole islands, random ranges and the counts.
  func check(_ map: borrowing SegmentMap, seed: UInt64, using random: inout Random) {
    for (island, base) in model.islands.enumerated() {
      let whole = map.mappings(from: base, count: model.islandSize)
      #expect(whole == model.mappings(island: island, from: 0, count: model.islandSize), "seed \(seed)")
      for _ in 0..<20 {
        let start = random.below(model.islandSize)
        let count = 1 + random.below(min(40, model.islandSize - start))
        let found = map.mappings(from: base + start, count: count)
        #expect(found == model.mappings(island: island, from: start, count: count), "seed \(seed)")
      }
    }
    for (found, expected) in zip(map.usage, model.usage(layers: layers.count)) {
      #expect(found.dataSectors == expected.data && found.zeroedSectors == expected.zeroed, "seed \(seed)")
    }
  }
}

@Suite("Random stacks against a model of single sectors")
struct MergeModelTests {
  @Test("Shallow stacks on small devices")
  func shallowStacks() throws {
    for seed in Random.seeds(400) {
      var random = Random(seed: seed)
      let stack = Stack(
        layers: 1 + random.below(6), islands: [0], islandSize: 20 + random.below(200),
        longest: 1 + random.below(40), using: &random)
      let map = try SegmentMap(layers: stack.layers, virtualSize: stack.virtualSize)
      stack.check(map, seed: seed, using: &random)
    }
  }

  @Test("Stacks of up to 255 layers")
  func deepStacks() throws {
    for seed in Random.seeds(12) {
      var random = Random(seed: seed)
      let layers = random.chance(30) ? 255 : 100 + random.below(156)
      let stack = Stack(layers: layers, islands: [0], islandSize: 400, longest: 12, using: &random)
      let map = try SegmentMap(layers: stack.layers, virtualSize: stack.virtualSize)
      stack.check(map, seed: seed, using: &random)
    }
  }

  @Test("Devices of many tebibytes, mapped in a few places far apart")
  func hugeDevices() throws {
    let top = SegmentMap.maxVirtualSize / 512
    for seed in Random.seeds(150) {
      var random = Random(seed: seed)
      let size: UInt64 = 100 + random.below(UInt64(200))
      let farAway: UInt64 = (1 << 33) + random.below(UInt64(1) << 40)
      let islands: [UInt64] = [0, (1 << 32) - size / 2, farAway, top - size]
      let stack = Stack(
        layers: 1 + random.below(8), islands: Array(islands.prefix(2 + random.below(3))), islandSize: size,
        longest: 1 + random.below(UInt64(100)), using: &random)
      let map = try SegmentMap(layers: stack.layers, virtualSize: stack.virtualSize)
      stack.check(map, seed: seed, using: &random)
      let between = map.mappings(from: size, count: islands[1] - size)
      let gap = Mapping(sectors: islands[1] - size, blobSector: 0, layer: 0, isZeroes: true)
      #expect(between == [gap], "seed \(seed)")
    }
  }

  @Test("Nothing can be seen beyond the virtual size")
  func clipping() throws {
    for seed in Random.seeds(100) {
      var random = Random(seed: seed)
      let stack = Stack(layers: 3, islands: [0], islandSize: 200, longest: 30, using: &random)
      let sectors = random.below(UInt64(200))
      // A last incomplete sector counts as a sector.
      let map = try SegmentMap(layers: stack.layers, virtualSize: sectors * 512 + random.below(512))
      let kept = map.runs.dropLast().last?.end ?? 0
      #expect(kept <= sectors + 1, "seed \(seed)")
      let whole = stack.model.mappings(island: 0, from: 0, count: sectors)
      #expect(map.mappings(from: 0, count: sectors) == whole, "seed \(seed)")
      let beyond = Mapping(sectors: 1000, blobSector: 0, layer: 0, isZeroes: true)
      #expect(map.mappings(from: sectors + 1, count: 1000) == [beyond], "seed \(seed)")
    }
  }
}
