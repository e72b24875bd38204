import Glibc
import LSMT
import Posix
import UpperLayer
import ZFile

@testable import Device

/// A random stack of layers in memory, raw and compressed, and what its merged view must read as.
final class TestStack {
  let map: SegmentMap
  let sources: LayerTable
  let files: [[UInt8]]
  /// By layer; nil for those that are local.
  let remotes: [TestRemote?]
  let sectors: Int
  /// The merged view.
  let model: [UInt8]
  private let tables: [TableBox?]

  /// A class, because arrays do not hold noncopyable values.
  private final class TableBox {
    let table: JumpTable
    init(_ table: consuming JumpTable) { self.table = table }
  }

  init(_ random: inout SeededRandom, layers count: Int, sectors: Int, areRemote: Bool = false) throws {
    self.sectors = sectors
    var model = [UInt8](repeating: 0, count: sectors * 512)
    var stack: [[Segment]] = []
    var files: [[UInt8]] = []
    var sources: [LayerSource] = []
    var tables: [TableBox?] = []
    var remotes: [TestRemote?] = []
    for number in 0..<count {
      var blob = [UInt8](repeating: UInt8(number), count: 4096)
      var segments: [Segment] = []
      var sector = Int.random(in: 0..<64, using: &random)
      while sector < sectors {
        let length = min(sectors - sector, Int.random(in: 1...(random.chance(4) ? 300 : 20), using: &random))
        let isZeroed = random.chance(5)
        segments.append(
          Segment(
            offset: UInt64(sector), length: UInt32(length), moffset: UInt64(blob.count / 512), isZeroed: isZeroed,
            tag: 0))
        let content = isZeroed ? [UInt8](repeating: 0, count: length * 512) : Self.content(&random, length)
        if !isZeroed { blob += content }
        model.withUnsafeMutableBytes { model in
          content.withUnsafeBytes {
            model.baseAddress!.advanced(by: sector * 512).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
          }
        }
        sector += length + (random.chance(3) ? Int.random(in: 1..<100, using: &random) : 0)
      }
      stack.append(segments)
      blob += [UInt8](repeating: 0, count: Int.random(in: 0..<3, using: &random) * 512)
      let file = LayerFile(slot: Int32(number + 1), descriptor: -1)
      let isRemote = areRemote && !random.chance(4)
      let method: LayerSource.Method = !isRemote && random.chance(3) ? .memory : .ring
      var hasChecksums = false
      let prefix = random.chance(3) ? 1536 : 0
      var stored = blob
      var table: TableBox?
      if random.chance(2) {
        let compression: Compression = random.chance(2) ? .lz4 : .zstd
        let blockSize = 4096 << Int.random(in: 0...4, using: &random)
        hasChecksums = !random.chance(4)
        (stored, table) = try Self.compress(blob, compression, blockSize, checksums: hasChecksums)
      }
      files.append([UInt8](repeating: 0x2e, count: prefix) + stored)
      tables.append(table)
      remotes.append(isRemote ? try TestRemote(files[number], hasChecksums: hasChecksums) : nil)
      sources.append(
        LayerSource(
          file: file, method: method, payloadOffset: UInt64(prefix), blobBytes: UInt64(blob.count),
          blocks: table?.table.view, view: remotes[number]?.view,
          memoryFile: LayerFile(slot: Int32(count + number + 1), descriptor: -1)))
    }
    map = try SegmentMap(layers: stack, virtualSize: UInt64(sectors) * 512)
    self.sources = LayerTable(sources)
    self.files = files
    self.remotes = remotes
    self.model = model
    self.tables = tables
  }

  /// Sectors that differ from each other; some compress, some do not.
  private static func content(_ random: inout SeededRandom, _ sectors: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: sectors * 512) { buffer, count in
      for start in stride(from: 0, to: sectors * 512, by: 512) {
        let isNoise = random.next() & 1 == 0
        let pattern = random.next()
        for word in 0..<64 {
          let value = isNoise ? random.next() : pattern
          UnsafeMutableRawPointer(buffer.baseAddress!).storeBytes(
            of: value, toByteOffset: start + word * 8, as: UInt64.self)
        }
      }
      count = sectors * 512
    }
  }

  private static func compress(
    _ blob: [UInt8], _ compression: Compression, _ blockSize: Int, checksums: Bool
  ) throws -> ([UInt8], TableBox) {
    var stored: [UInt8] = []
    var writer = try ZFileWriter(compression: compression, blockSize: blockSize, checksums: checksums)
    blob.withUnsafeBytes { bytes in
      writer.append(bytes) { stored += $0 }
    }
    let header = writer.finish { stored += $0 }
    stored.replaceSubrange(0..<header.count, with: header)
    let record = try ZFileRecord(parsing: header.span.bytes, as: .header)
    let place = try JumpTable.location(record: record, fileSize: UInt64(stored.count))
    let table = try JumpTable(
      parsing: stored[Int(place.offset)..<Int(place.offset) + place.byteCount].span.bytes, record: record,
      fileSize: UInt64(stored.count))
    return (stored, TableBox(table))
  }

  /// The layers as a sparse upper asks for them.
  var lowers: LowerLayers {
    let model = model
    let nothing = [UInt8](repeating: 0, count: 512)
    let isShown = model.withUnsafeBytes { bytes in
      (0..<sectors).map { memcmp(bytes.baseAddress! + $0 * 512, nothing, 512) != 0 }
    }
    @Sendable func first(_ sectors: Range<UInt64>) -> Range<UInt64>? {
      sectors.first { isShown[Int($0)] }.map { $0..<$0 + 1 }
    }
    return LowerLayers(
      shown: first, stored: first,
      read: { sector, buffer throws(Errno) in
        buffer.copyBytes(from: model[Int(sector) * 512..<Int(sector) * 512 + buffer.count])
      })
  }

  /// Whether `data` is what `count` sectors from `start` must read as.
  func holds(_ data: [UInt8], at start: Int, sectors count: Int) -> Bool {
    data.count == count * 512
      && data.withUnsafeBytes { data in
        model.withUnsafeBytes { memcmp(data.baseAddress!, $0.baseAddress! + start * 512, count * 512) == 0 }
      }
  }
}
