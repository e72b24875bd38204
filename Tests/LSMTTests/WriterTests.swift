import Foundation
import LSMT
import Testing

@Suite("Writing layers")
struct WriterTests {
  private static let uuid = LayerUUID("11111111-1111-4111-8111-111111111199")!

  /// A layer whose data sectors are filled with bytes of their device sector.
  private func layer(_ calls: [(sector: UInt64, sectors: UInt64, isZeroed: Bool)], size: UInt64) throws
    -> [UInt8]
  {
    var writer = LayerWriter(virtualSize: size, uuid: Self.uuid, userTag: Array("made by a test".utf8))
    var bytes = writer.header()
    for call in calls {
      if call.isZeroed {
        writer.zeroes(atSector: call.sector, sectors: call.sectors)
      } else {
        writer.data(atSector: call.sector, sectors: call.sectors)
        for sector in call.sector..<call.sector + call.sectors {
          bytes.append(contentsOf: [UInt8](repeating: UInt8(truncatingIfNeeded: sector), count: sectorSize))
        }
      }
      #expect(writer.byteCount == UInt64(bytes.count))
    }
    try bytes.append(contentsOf: writer.finish())
    return bytes
  }

  @Test("Long runs are split, neighbours joined below the maximum, and the index padded")
  func segments() throws {
    let bytes = try layer(
      [
        (0, 8, false), (8, 1, false), (10, 5, false), (15, 3, true), (18, 4, true), (22, 1, false),
        (100, 16383, true), (16483, 1, true), (20000, 40000, true), (60000, 16381, false), (76381, 1, false),
        (76382, 1, false),
      ], size: 1 << 30)
    let layer = try LoadedLayer(bytes)
    #expect(
      layer.segments == [
        Segment(offset: 0, length: 9, moffset: 8), Segment(offset: 10, length: 5, moffset: 17),
        Segment(offset: 15, length: 7, moffset: 22, isZeroed: true),
        Segment(offset: 22, length: 1, moffset: 22),
        Segment(offset: 100, length: 16383, moffset: 23, isZeroed: true),
        Segment(offset: 16483, length: 1, moffset: 23, isZeroed: true),
        Segment(offset: 20000, length: 16383, moffset: 23, isZeroed: true),
        Segment(offset: 36383, length: 16383, moffset: 23, isZeroed: true),
        Segment(offset: 52766, length: 7234, moffset: 23, isZeroed: true),
        Segment(offset: 60000, length: 16382, moffset: 23), Segment(offset: 76382, length: 1, moffset: 16405),
      ])
    #expect(layer.index.entryCount == 256)
    #expect(layer.trailer.flags == 6 && layer.header.flags == 7)
    #expect(layer.header.indexOffset == 0 && layer.header.indexCount == 0)
    #expect(layer.trailer.userTag == Array("made by a test".utf8) && layer.trailer.uuid == Self.uuid)
    #expect(layer.index.byteOffset + UInt64(layer.index.byteCount) + 4096 == UInt64(bytes.count))
  }

  @Test("A layer of nothing is a header and a trailer")
  func nothing() throws {
    let layer = try LoadedLayer(try layer([], size: 1 << 20))
    #expect(layer.bytes.count == 8192 && layer.segments.isEmpty && layer.trailer.indexOffset == 4096)
  }

  @Test("Random layers read back as they were written")
  func roundTrip() throws {
    for seed in Random.seeds(60) {
      var random = Random(seed: seed)
      var calls: [(sector: UInt64, sectors: UInt64, isZeroed: Bool)] = []
      var sector: UInt64 = random.chance(50) ? 0 : random.below(UInt64(1) << 45)
      for _ in 0..<random.below(30 as Int) {
        let isZeroed = random.chance(40)
        let sectors = 1 + random.below(UInt64(isZeroed ? 40000 : 40))
        calls.append((sector, sectors, isZeroed))
        sector += sectors + (random.chance(50) ? 0 : random.below(UInt64(1) << 20))
      }
      let layer = try LoadedLayer(try layer(calls, size: (sector + 100) * 512))
      let map = try SegmentMap(layers: [layer.segments], virtualSize: layer.trailer.virtualSize)
      for call in calls {
        var position = call.sector
        for mapping in map.mappings(from: call.sector, count: call.sectors) {
          #expect(mapping.isZeroes == call.isZeroed, "seed \(seed)")
          for distance in 0..<(mapping.isZeroes ? 0 : mapping.sectors) {
            let byte = layer.bytes[Int(mapping.blobSector + distance) * sectorSize + 511]
            #expect(byte == UInt8(truncatingIfNeeded: position + distance), "seed \(seed)")
          }
          position += mapping.sectors
        }
        #expect(position == call.sector + call.sectors, "seed \(seed)")
      }
      let usage = map.usage[0]
      #expect(usage.dataSectors + usage.zeroedSectors == calls.reduce(0) { $0 + $1.sectors }, "seed \(seed)")
    }
  }

  @Test("More entries than a reader accepts are refused")
  func tooManyEntries() throws {
    var writer = LayerWriter(virtualSize: 1 << 40, uuid: .null)
    for entry in 0..<UInt64(999_936) { writer.zeroes(atSector: entry * 2, sectors: 1) }
    #expect(!writer.isFull)
    var full = writer
    full.zeroes(atSector: 2_000_000, sectors: 1)
    #expect(full.isFull && full.entryCount == 999_937)
    #expect(throws: LSMTError.tooManyEntries(count: 1_000_192, limit: 1_000_000)) { _ = try full.finish() }
  }

  @Test(
    "A decoder that shares no code reads the same entries",
    .enabled(if: Fixtures.isPresent, Fixtures.absence))
  func independentDecoder() throws {
    let bytes = try layer(
      [(0, 8, false), (3000, 20000, true), (1 << 33, 3, false), ((1 << 33) + 3, 5, true)], size: 8 << 40)
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("lsmt-\(UUID().uuidString)").path
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    let lines = try output(of: ["python3", Fixtures.folder + "/decode.py", path]).split(separator: "\n")
    let entries = lines.filter { $0.hasPrefix("    (") }.map { $0.dropFirst(4) }
    #expect(
      entries.prefix(7) == [
        "(0, 8, 8, 0, 0)", "(3000, 16383, 16, 1, 0)", "(19383, 3617, 16, 1, 0)", "(8589934592, 3, 16, 0, 0)",
        "(8589934595, 5, 19, 1, 0)", "(1125899906842623, 0, 0, 0, 0)", "(1125899906842623, 0, 0, 0, 0)",
      ])
    let trailer = try #require(lines.first { $0.hasPrefix(" trailer") })
    #expect(
      trailer.contains("size=390 flags=0x6 index_offset=9728 index_size=256 virtual_size=8796093022208"))
    #expect(lines.contains { $0.contains("ver=1.1") && $0.contains("made by a test") })
  }
}
