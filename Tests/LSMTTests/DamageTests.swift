import LSMT
import Testing

@Suite("Damaged layers")
struct DamageTests {
  /// A small committed layer.
  private static func layer() throws -> [UInt8] {
    var writer = LayerWriter(virtualSize: 1 << 20, uuid: LayerUUID("11111111-1111-4111-8111-111111111199")!)
    var bytes = writer.header()
    for number in 0..<UInt64(20) {
      writer.data(atSector: number * 30, sectors: 3)
      writer.zeroes(atSector: number * 30 + 10, sectors: 7)
      bytes.append(contentsOf: [UInt8](repeating: 1, count: 3 * sectorSize))
    }
    try bytes.append(contentsOf: writer.finish())
    return bytes
  }

  /// The layer's trailer, changed, and what `SealedIndex` says of it.
  private func error(
    layerSize: UInt64 = 100_000, _ change: (inout LayerRecord) -> Void
  ) -> LSMTError? {
    var trailer = LayerRecord(flags: 6, indexOffset: 8192, indexCount: 256, virtualSize: 1 << 20)
    change(&trailer)
    do {
      _ = try SealedIndex(trailer: trailer, layerSize: layerSize)
      return nil
    } catch {
      return error
    }
  }

  @Test("A trailer that cannot be right is refused, whatever its numbers")
  func trailers() {
    #expect(error { _ in } == nil)
    #expect(error { $0.flags = 7 } == .wrongRole(expected: .trailer, flags: 7))
    #expect(error { $0.flags = 4 } == .notDataFile(flags: 4))
    #expect(error { $0.flags = 2 } == .notSealed(flags: 2))
    #expect(error(layerSize: 8191) { _ in } == .layerTooSmall(size: 8191))
    #expect(error(layerSize: 0) { _ in } == .layerTooSmall(size: 0))
    for offset in [0, 4095, 95905, .max] as [UInt64] {
      #expect(error { $0.indexOffset = offset } == .indexOffset(found: offset, limit: 95904))
    }
    #expect(error { $0.indexCount = 1_000_001 } == .tooManyEntries(count: 1_000_001, limit: 1_000_000))
    #expect(error { $0.indexCount = .max } == .tooManyEntries(count: .max, limit: 1_000_000))
    // 16 times this is 0 in 64 bits.
    #expect(error { $0.indexCount = 1 << 60 } == .tooManyEntries(count: 1 << 60, limit: 1_000_000))
    #expect(error { $0.indexCount = (95904 - 8192) / 16 } == nil)
    #expect(error { $0.indexCount = 5483 } == .indexTooLong(offset: 8192, count: 5483, limit: 95904))
    #expect(error(layerSize: .max) { $0.indexOffset = .max - 4096 } != nil)
    #expect(error(layerSize: 8192) { ($0.indexOffset, $0.indexCount) = (4096, 0) } == nil)
  }

  /// What decoding an index of `segments`, of a layer with data up to blob sector 100, says.
  private func error(_ segments: [Segment]) -> LSMTError? {
    let trailer = LayerRecord(
      flags: 6, indexOffset: 100 * 512, indexCount: UInt64(segments.count), virtualSize: 1 << 20)
    let bytes = segments.flatMap(\.encoded)
    do {
      let index = try SealedIndex(trailer: trailer, layerSize: 1 << 20)
      _ = try index.decode(bytes.span.bytes)
      return nil
    } catch {
      return error
    }
  }

  @Test("An index that is out of order or points outside the data is refused with the entry's place")
  func indexes() {
    #expect(
      error([Segment(offset: 5, length: 92, moffset: 8), Segment(offset: 97, length: 1, moffset: 99)]) == nil)
    #expect(
      error([
        Segment(offset: 5, length: 10, moffset: 8), .padding, Segment(offset: 14, length: 1, moffset: 8),
      ])
        == .unsortedIndex(entry: 2, byteOffset: 51232, sector: 14, previousEnd: 15))
    #expect(
      error([Segment(offset: 5, length: 10, moffset: 7)])
        == .mappingOutsideData(entry: 0, byteOffset: 51200, start: 7, end: 17, limit: 100))
    #expect(
      error([Segment(offset: 5, length: 93, moffset: 8)])
        == .mappingOutsideData(entry: 0, byteOffset: 51200, start: 8, end: 101, limit: 100))
    #expect(
      error([Segment(offset: 5, length: 16383, moffset: Segment.maxMoffset)])
        == .mappingOutsideData(
          entry: 0, byteOffset: 51200, start: Segment.maxMoffset, end: Segment.maxMoffset + 16383, limit: 100)
    )
    // A zeroed entry stores nothing, so only its moffset counts.
    #expect(error([Segment(offset: 5, length: 16383, moffset: 100, isZeroed: true)]) == nil)
    #expect(error([Segment(offset: 5, length: 1, moffset: 8, isZeroed: true)]) == nil)
    #expect(
      error([Segment(offset: 5, length: 1, moffset: 101, isZeroed: true)])
        == .mappingOutsideData(entry: 0, byteOffset: 51200, start: 101, end: 101, limit: 100))
    #expect(error([Segment(offset: 5, length: 1, moffset: 7, isZeroed: true)]) != nil)
  }

  @Test("Padding is skipped wherever it is, tags are ignored, and filler is not looked at")
  func tolerated() throws {
    let segments = [
      .padding, Segment(offset: 0, length: 8, moffset: 8, tag: 77), .padding, .padding,
      Segment(offset: 8, length: 0, moffset: 16), Segment(offset: 8, length: 8, moffset: 16, tag: 255),
    ]
    let trailer = LayerRecord(flags: 6, indexOffset: 16384, indexCount: 6, virtualSize: 1 << 20)
    let index = try SealedIndex(trailer: trailer, layerSize: 32768)
    let bytes = segments.flatMap(\.encoded) + [UInt8](repeating: 0xaa, count: 400)
    let decoded = try index.decode(bytes.span.bytes)
    #expect(
      decoded == [Segment(offset: 0, length: 8, moffset: 8), Segment(offset: 8, length: 8, moffset: 16)])
  }

  @Test("Truncated records and indexes are errors")
  func truncation() throws {
    let bytes = try Self.layer()
    for length in [0, 1, 23, 24, 389, 4095] {
      #expect(throws: LSMTError.recordTruncated(role: .header, found: length)) {
        _ = try LayerRecord(parsing: bytes.span.bytes.extracting(0..<length), as: .header)
      }
    }
    #expect(throws: LSMTError.wrongRole(expected: .trailer, flags: 7)) {
      _ = try LayerRecord(parsing: bytes.span.bytes, as: .trailer)
    }
    let index = try LoadedLayer(bytes).index
    #expect(throws: LSMTError.indexTruncated(expected: 4096, found: 4095)) {
      _ = try index.decode(bytes.span.bytes.extracting(0..<4095))
    }
    for length in stride(from: 0, to: bytes.count, by: 97) {
      #expect(throws: LSMTError.self) { _ = try LoadedLayer(Array(bytes.prefix(length))) }
    }
  }

  @Test("Thousands of random mutations end in an error or in a map that can be walked")
  func mutations() throws {
    let original = try Self.layer()
    let indexStart = original.count - 8192
    var refused = 0
    for seed in Random.seeds(3000) {
      var random = Random(seed: seed)
      var bytes = original
      for _ in 0...random.below(4 as Int) {
        // Mostly where it matters: the fields of the records and the used part of the index.
        let place = [
          random.below(64 as Int), bytes.count - 4096 + random.below(64), indexStart + random.below(700),
        ]
        let position = place[random.below(3 as Int)]
        switch random.below(3 as Int) {
        case 0: bytes[position] ^= 1 << UInt8(random.below(8 as Int))
        case 1: bytes[position] = UInt8(random.below(256 as Int))
        default: for byte in position..<min(position + 8, bytes.count) { bytes[byte] = 0xff }
        }
      }
      if random.chance(10) { bytes.removeLast(random.below(bytes.count)) }
      do {
        let layer = try LoadedLayer(bytes)
        let map = try SegmentMap(
          layers: [layer.segments, layer.segments], virtualSize: layer.trailer.virtualSize)
        let sectors = map.mappings(from: 0, count: 2000).reduce(0) { $0 + $1.sectors }
        #expect(sectors == 2000, "seed \(seed)")
        let limit = layer.index.byteOffset / 512
        let isInside = map.mappings(from: 0, count: SegmentMap.maxVirtualSize / 512).allSatisfy {
          $0.isZeroes || ($0.blobSector >= 8 && $0.blobSector + $0.sectors <= limit)
        }
        #expect(isInside, "seed \(seed)")
      } catch let error as LSMTError {
        refused += 1
        #expect(!error.description.isEmpty)
      }
    }
    #expect(refused > 0)
  }

  /// An index file with `entries`, then `rest`.
  private static func log(_ entries: [Segment], flags: UInt32 = 1, offset: UInt64 = 4096, rest: [UInt8] = [])
    -> [UInt8]
  {
    LayerRecord(flags: flags, indexOffset: offset, virtualSize: 1 << 20).encoded()
      + entries.flatMap(\.encoded) + rest
  }

  @Test("A torn last entry of a writable index is reported and counts for nothing")
  func tornLog() throws {
    let entries = [
      Segment(offset: 8, length: 8, moffset: 8, tag: 3), Segment(offset: 0, length: 9, moffset: 16),
    ]
    for torn in 0..<16 {
      let bytes = Self.log([entries[0], .padding, entries[1]], rest: [UInt8](repeating: 1, count: torn))
      let log = try decodeIndexLog(bytes.span.bytes)
      #expect(log.entries == entries && log.paddingCount == 1 && log.tornBytes == torn)
      #expect(log.replayed() == [entries[1], Segment(offset: 9, length: 7, moffset: 9)])
      #expect(log.firstEntry(outsideDataOf: 25 * 512) == nil)
      #expect(log.firstEntry(outsideDataOf: 25 * 512 - 1) == 1)
    }
  }

  @Test("Entries of a log lose what is not in the data file, and zeroes need nothing there")
  func cutLog() throws {
    let entries = [
      Segment(offset: 0, length: 8, moffset: 8), Segment(offset: 4, length: 8, moffset: 16),
      Segment(offset: 20, length: 4, moffset: 24), Segment(offset: 30, length: 4, moffset: 1 << 54, isZeroed: true),
      Segment(offset: 40, length: 4, moffset: 7), Segment(offset: 50, length: 4, moffset: Segment.maxMoffset),
    ]
    let log = try decodeIndexLog(Self.log(entries, rest: []).span.bytes)
    let (segments, cut) = log.replayed(within: 20 * 512 + 511)
    #expect(cut == 4)
    #expect(
      segments == [
        Segment(offset: 0, length: 4, moffset: 8), Segment(offset: 4, length: 4, moffset: 16),
        Segment(offset: 30, length: 4, moffset: 1 << 54, isZeroed: true),
      ])
    #expect(log.replayed(within: 4096).segments == [segments[2]])
  }

  @Test("What is not a writable layer's index is refused")
  func wrongLogs() {
    func error(_ bytes: [UInt8]) -> LSMTError? {
      do {
        _ = try decodeIndexLog(bytes.span.bytes)
        return nil
      } catch {
        return error
      }
    }
    #expect(error(Self.log([])) == nil)
    #expect(error(Self.log([], flags: 3)) == .notIndexFile(flags: 3))
    #expect(error(Self.log([], flags: 5)) == .sealedIndexFile(flags: 5))
    #expect(error(Self.log([], flags: 0)) == .wrongRole(expected: .header, flags: 0))
    #expect(error(Self.log([], offset: 0)) == .indexLogOffset(found: 0))
    #expect(error([]) == .recordTruncated(role: .header, found: 0))
  }

  @Test("Random logs replay like single sectors written one after the other")
  func randomLogs() throws {
    for seed in Random.seeds(200) {
      var random = Random(seed: seed)
      var model: [UInt64: UInt64?] = [:]
      var entries: [Segment] = []
      for _ in 0..<random.below(120 as Int) {
        let segment = Segment(
          offset: random.below(200 as UInt64), length: UInt32(random.below(30 as Int)),
          moffset: random.below(UInt64(Segment.maxMoffset)), isZeroed: random.chance(20), tag: 9)
        entries.append(segment)
        for distance in 0..<UInt64(segment.length) {
          let stored = (segment.moffset + distance) & Segment.maxMoffset
          model.updateValue(segment.isZeroed ? nil : stored, forKey: segment.offset + distance)
        }
      }
      let bytes = Self.log(entries)
      var found: [UInt64: UInt64?] = [:]
      for segment in try decodeIndexLog(bytes.span.bytes).replayed() {
        for distance in 0..<UInt64(segment.length) {
          let stored = (segment.moffset + distance) & Segment.maxMoffset
          found.updateValue(segment.isZeroed ? nil : stored, forKey: segment.offset + distance)
        }
      }
      #expect(found == model, "seed \(seed)")
    }
  }
}
