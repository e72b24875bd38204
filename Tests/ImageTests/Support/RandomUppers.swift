import LSMT
import TestSupport

@testable import Image

/// An append-only upper as a server would leave it, made entry by entry without any of the code that servers use.
struct MadeUpper {
  let sectors: Int
  var data: [UInt8]
  var index: [UInt8]
  /// What is written where; nil where nothing is. A sector of zeroes may be either kind of entry.
  var content: [Int: [UInt8]] = [:]

  init(sectors: Int, virtualSize: UInt64? = nil, uuid: LayerUUID = .null, parent: LayerUUID = .null) {
    self.sectors = sectors
    let size = virtualSize ?? UInt64(sectors * sectorSize)
    data = LayerRecord(flags: 3, virtualSize: size, uuid: uuid, parentUUID: parent).encoded()
    index = LayerRecord(flags: 1, indexOffset: 4096, virtualSize: size, uuid: uuid, parentUUID: parent).encoded()
  }

  mutating func write(_ bytes: [UInt8], at sector: Int, tag: UInt8 = 0) {
    let count = bytes.count / sectorSize
    add(Segment(offset: UInt64(sector), length: UInt32(count), moffset: UInt64(data.count / sectorSize), tag: tag))
    data += bytes
    for number in 0..<count {
      content[sector + number] = Array(bytes[number * sectorSize..<(number + 1) * sectorSize])
    }
  }

  mutating func zero(at sector: Int, count: Int) {
    add(
      Segment(
        offset: UInt64(sector), length: UInt32(count), moffset: UInt64(data.count / sectorSize), isZeroed: true))
    for number in 0..<count { content[sector + number] = [UInt8](repeating: 0, count: sectorSize) }
  }

  mutating func add(_ segment: Segment) { index += segment.encoded }

  /// So many random writes, with zeroes among them, and what group commit and a crash leave in the index.
  mutating func fill(_ writes: Int, _ random: inout SplitMix) {
    for _ in 0..<writes {
      let sector = Int.random(in: 0..<sectors, using: &random)
      let most = min(sectors - sector, Bool.random(using: &random) ? 9 : 100)
      let count = Int.random(in: 1...most, using: &random)
      switch Int.random(in: 0..<8, using: &random) {
      case 0: zero(at: sector, count: count)
      case 1: write([UInt8](repeating: 0, count: count * sectorSize), at: sector)
      case 2: add(.padding)
      default: write(random.bytes(count * sectorSize), at: sector, tag: UInt8.random(in: 0...9, using: &random))
      }
    }
  }

  /// The disk that it makes of `below`.
  func disk(over below: [UInt8]) -> [UInt8] {
    let count = sectors * sectorSize
    var disk = Array(below.prefix(count)) + [UInt8](repeating: 0, count: max(0, count - below.count))
    for (sector, bytes) in content where sector < sectors {
      disk.replaceSubrange(sector * sectorSize..<(sector + 1) * sectorSize, with: bytes)
    }
    return disk
  }

  /// Writes the two files and a configuration of them over `lowers`.
  func save(
    _ scratch: Scratch, over lowers: [ImageConfig.Lower] = [], name: String = "image.json"
  ) throws -> String {
    var config = ImageConfig(lowers: lowers)
    config.upper.data = try scratch.write("upper.data", data)
    config.upper.index = try scratch.write("upper.index", index)
    return try scratch.write(name, try config.encoded())
  }
}
