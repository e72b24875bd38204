import LSMT
import Testing

@Suite("Layers that overlaybd wrote", .enabled(if: Fixtures.isPresent, Fixtures.absence))
struct FixtureTests {
  private static let virtualSize: UInt64 = 64 << 20

  @Test(
    "The index of a committed or sealed layer is what overlaybd says it is",
    arguments: [
      ("l0.lsmt", "l0.idx.txt"), ("l1.lsmt", "l1.idx.txt"), ("l2.lsmt", "l2.idx.txt"),
      ("l2.nouuid.lsmt", "l2.idx.txt"), ("l1.fromsealed.lsmt", "l1.idx.txt"),
      ("l1.sealed", "l1.sealed.idx.txt"),
    ])
  func sealedIndexes(file: String, listing: String) throws {
    let layer = try LoadedLayer(fixture: "lsmt/" + file)
    #expect(layer.segments == (try Fixtures.segments("lsmt/" + listing)))
    #expect(layer.trailer.virtualSize == Self.virtualSize)
    #expect(layer.trailer.isSealed && layer.trailer.isDataFile && !layer.trailer.isHeader)
    #expect(layer.header.isSealed == (file != "l1.sealed"))
    #expect(layer.trailer.uuid.isNull == (file == "l2.nouuid.lsmt"))
  }

  @Test(
    "A record read and written again is the same bytes",
    arguments: ["l0.lsmt", "l1.sealed", "l2.nouuid.lsmt"])
  func recordsRoundTrip(file: String) throws {
    let layer = try LoadedLayer(fixture: "lsmt/" + file)
    #expect(layer.header.encoded() == Array(layer.bytes.prefix(LayerRecord.size)))
    #expect(layer.trailer.encoded() == Array(layer.bytes.suffix(LayerRecord.size)))
  }

  @Test(
    "The log of a writable layer replays to overlaybd's index",
    arguments: [
      ("lsmt/l0", "lsmt/l0.rw.idx.txt"), ("lsmt/l1", "lsmt/l1.sealed.idx.txt"),
      ("upper/up", "upper/up.idx.txt"),
    ])
  func writableIndexes(layer: String, listing: String) throws {
    let log = try loadIndexLog(fixture: layer + ".index")
    #expect(log.replayed() == (try Fixtures.segments(listing)).map { Segment($0, tag: 0) })
    #expect(log.tornBytes == 0)
    let dataSize = UInt64(try Fixtures.bytes(layer + ".data").count)
    #expect(log.firstEntry(outsideDataOf: dataSize) == nil)
    #expect(log.firstEntry(outsideDataOf: 4096 + 512) != nil)
  }

  @Test("The merged index of three layers is overlaybd's")
  func mergedIndex() throws {
    let layers = try ["l0", "l1", "l2"].map { try LoadedLayer(fixture: "lsmt/\($0).lsmt").segments }
    let map = try SegmentMap(layers: layers, virtualSize: Self.virtualSize)
    // The listing numbers layers from the top.
    let expected = try Fixtures.segments("lsmt/merged.idx.txt").map { Segment($0, tag: 2 - $0.tag) }
    #expect(map.segmentCount == expected.count)
    let found = map.mappings(from: 0, count: try #require(expected.last).end)
    #expect(found == joinedMappings(of: expected))
  }

  @Test(
    "A merged view has the expected bytes",
    arguments: [
      (["l0.lsmt"], "0"), (["l0.lsmt", "l1.lsmt"], "01"), (["l0.lsmt", "l1.sealed"], "01"),
      (["l0.lsmt", "l1.lsmt", "l2.lsmt"], "012"),
      (["l0.lsmt", "l1.fromsealed.lsmt", "l2.nouuid.lsmt"], "012"),
    ])
  func mergedViews(files: [String], expected: String) throws {
    let layers = try files.map { try LoadedLayer(fixture: "lsmt/" + $0) }
    let map = try SegmentMap(layers: layers.map(\.segments), virtualSize: Self.virtualSize)
    let found = try sha256(of: map, blobs: layers.map(\.bytes), virtualSize: Self.virtualSize)
    #expect(found == (try Fixtures.sha256("lsmt/expected.\(expected).img.sha256")))
  }

  @Test("A writable layer shows the expected bytes, alone and on top of three layers")
  func writableViews() throws {
    let log = try loadIndexLog(fixture: "upper/up.index")
    let upper = try Fixtures.bytes("upper/up.data")
    let lowers = try ["l0", "l1", "l2"].map { try LoadedLayer(fixture: "lsmt/\($0).lsmt") }
    let stack = try SegmentMap(
      layers: lowers.map(\.segments) + [log.replayed()], virtualSize: Self.virtualSize)
    let stacked = try sha256(of: stack, blobs: lowers.map(\.bytes) + [upper], virtualSize: Self.virtualSize)
    #expect(stacked == (try Fixtures.sha256("upper/expected.up.img.sha256")))
    let alone = try SegmentMap(layers: [log.replayed()], virtualSize: Self.virtualSize)
    let single = try sha256(of: alone, blobs: [upper], virtualSize: Self.virtualSize)
    #expect(single == (try Fixtures.sha256("upper/expected.up1.img.sha256")))
  }

  @Test("A layer without segments is all zeroes")
  func emptyLayer() throws {
    let layer = try LoadedLayer(fixture: "quirks/empty.lsmt")
    #expect(layer.segments.isEmpty && layer.index.byteCount == 0)
    let map = try SegmentMap(layers: [layer.segments], virtualSize: layer.trailer.virtualSize)
    #expect(map.segmentCount == 0)
    let sectors = layer.trailer.virtualSize / 512
    #expect(
      map.mappings(from: 0, count: sectors) == [
        Mapping(sectors: sectors, blobSector: 0, layer: 0, isZeroes: true)
      ])
  }

  @Test("Sectors on both sides of 2 TiB hold the right bytes")
  func beyondTwoTebibytes() throws {
    let layer = try LoadedLayer(fixture: "quirks/over2TiB.lsmt")
    #expect(layer.trailer.virtualSize == 4 << 40)
    let map = try SegmentMap(layers: [layer.segments], virtualSize: layer.trailer.virtualSize)
    let written: [UInt64: UInt8] = [
      0: 1, 1: 2, 100: 3, 1 << 32 - 1: 4, 1 << 32: 5, 1 << 32 + 5: 6, 1 << 32 + 100: 7, 1 << 32 + 5000: 8,
    ]
    for sector in written.keys.flatMap({ [$0 &- 1, $0, $0 + 1, $0 & 0xffff_ffff] }) where sector < 1 << 33 {
      let mapping = try #require(map.mappings(from: sector, count: 1).first)
      if let value = written[sector] {
        try #require(!mapping.isZeroes, "sector \(sector)")
        let start = Int(mapping.blobSector) * sectorSize
        #expect(layer.bytes[start..<start + sectorSize].allSatisfy { $0 == value }, "sector \(sector)")
      } else {
        #expect(mapping.isZeroes, "sector \(sector)")
      }
    }
  }
}
