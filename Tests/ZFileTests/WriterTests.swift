import Foundation
import Testing

@testable import ZFile

@Suite("Writing a ZFile")
struct WriterTests {
  enum Content: String, CaseIterable {
    case random, zero, text, empty, tail, oneByte

    func bytes(blockSize: Int) -> [UInt8] {
      var random = Seeded(10)
      switch self {
      case .random: return random.bytes(5 * blockSize)
      case .zero: return [UInt8](repeating: 0, count: 4 * blockSize)
      case .text:
        let lines = (0..<blockSize / 4).map { "line \($0) of a text that compresses\n" }
        return Array(lines.joined().utf8.prefix(3 * blockSize))
      case .empty: return []
      case .tail: return random.bytes(2 * blockSize) + Array("tail".utf8)
      case .oneByte: return [42]
      }
    }
  }

  private static let sizes = [4096, 8192, 16384, 32768, 65536]

  @Test(
    "what is written is read back, with and without checksums, from header and from trailer", arguments: sizes
  )
  func roundTrip(blockSize: Int) throws {
    for content in Content.allCases {
      let bytes = content.bytes(blockSize: blockSize)
      for compression in [Compression.lz4, .zstd] {
        for (checksums, rewritten) in [(true, true), (true, false), (false, true), (false, false)] {
          let file = try WholeFile(
            compress(bytes, compression, blockSize: blockSize, checksums: checksums, rewritten: rewritten))
          let what = "\(content) \(compression) \(checksums) \(rewritten)"
          #expect(try file.content() == bytes, "\(what)")
          #expect(file.record.isHeaderOverwritten == rewritten, "\(what)")
          #expect(file.record.hasChecksums == checksums && file.record.hasDigest, "\(what)")
          #expect(file.table.view.blockCount == (bytes.count + blockSize - 1) / blockSize, "\(what)")
        }
      }
    }
  }

  @Test("how the content is cut into pieces does not show", arguments: [1, 7, 4095, 4096, 4097, 100_000])
  func pieces(piece: Int) throws {
    let content = Content.text.bytes(blockSize: 8192).prefix(piece == 1 ? 9000 : .max)
    for compression in [Compression.lz4, .zstd] {
      let whole = try compress(Array(content), compression, blockSize: 4096)
      #expect(try compress(Array(content), compression, blockSize: 4096, piece: piece) == whole)
    }
  }

  @Test("output larger than the writer's own buffer is right")
  func large() throws {
    var random = Seeded(11)
    let content = random.bytes(3_000_001)
    let file = try WholeFile(compress(content, .lz4, blockSize: 4096))
    #expect(try file.content() == content)
  }

  @Test("an error of the one who takes the output comes through")
  func failure() throws {
    struct Full: Error, Equatable {}
    var writer = try ZFileWriter(compression: .lz4, blockSize: 4096)
    #expect(throws: Full()) { _ = try writer.finish { _ in throw Full() } }
  }

  @Test(
    "block sizes that overlaybd cannot read are refused",
    arguments: [0, 512, 2048, 5000, 131_072, -4096, .max])
  func blockSizes(blockSize: Int) {
    #expect(throws: ZFileError.invalidBlockSize(UInt32(clamping: blockSize))) {
      _ = try ZFileWriter(compression: .lz4, blockSize: blockSize)
    }
  }

  @Test("the records say what the format asks for: header 0x13, trailer 0x16, rewritten header 0x1B")
  func flags() throws {
    let stream = try compress([1, 2, 3], .zstd, blockSize: 4096, rewritten: false)
    let rewritten = try compress([1, 2, 3], .zstd, blockSize: 4096)
    #expect(stream[32] == 0x13 && stream[stream.count - 480] == 0x16 && rewritten[32] == 0x1B)
    #expect(stream[ZFileRecord.size...] == rewritten[ZFileRecord.size...])
  }

  @Test(
    "an independent decoder finds all digests and CRCs right",
    .enabled(if: Fixtures.exist, Fixtures.explanation), arguments: [Compression.lz4, .zstd])
  func independentDecoder(compression: Compression) throws {
    let content = Content.text.bytes(blockSize: 16384) + Content.tail.bytes(blockSize: 4096)
    let path = FileManager.default.temporaryDirectory.appending(path: "zfile-\(UUID().uuidString)")
    try Data(try compress(content, compression, blockSize: 8192)).write(to: path)
    defer { try? FileManager.default.removeItem(at: path) }
    let report = try output(of: "python3", "-B", "\(Fixtures.folder)/decode.py", path.path)
    let records = report.matches(of: /digest=(\w+) .*index_crc=(\w+) .*digest_raw=(\w+)/)
    #expect(records.count == 2)
    let table = try #require(report.firstMatch(of: /icrc_raw=(\w+)/)).1
    for record in records {
      #expect(record.1 == record.3, "digest")
      #expect(record.2 == table, "jump table")
    }
    let blocks = report.matches(of: /crc=(\w+) raw\(seed 100007\)=(\w+)/)
    #expect(blocks.count == 3)
    for block in blocks { #expect(block.1 == block.2, "block") }
    #expect(report.contains("orig=\(content.count) "))
  }
}
