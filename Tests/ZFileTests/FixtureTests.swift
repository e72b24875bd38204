import Foundation
import Testing

@testable import ZFile

/// What overlaybd's tools wrote must come back as it went in.
@Suite("Files of overlaybd's tools", .enabled(if: Fixtures.exist, Fixtures.explanation))
struct FixtureTests {
  /// Lines of plain.sha256: size, digest, name.
  private static let plain: [String: (size: Int, digest: String)] = {
    let text = (try? Fixtures.bytes("zfile/plain.sha256")).map { String(decoding: $0, as: UTF8.self) } ?? ""
    let lines = text.split(separator: "\n").map { $0.split(separator: " ") }.filter { $0.count == 3 }
    return Dictionary(uniqueKeysWithValues: lines.map { (String($0[2]), (Int($0[0]) ?? -1, String($0[1]))) })
  }()

  @Test("a ZFile decodes to its content", arguments: Fixtures.names(in: "zfile", ending: ".zf"))
  func zfile(name: String) throws {
    let expected = try #require(Self.plain[name], "plain.sha256 does not know it")
    let file = try WholeFile(try Fixtures.bytes("zfile/\(name)"))
    let content = try file.content()
    #expect(content.count == expected.size)
    #expect(try sha256(content) == expected.digest)
    // What the name says is what the records say.
    #expect(name.contains(".\(file.record.compression)."))
    #expect(name.contains(".\(file.record.blockSize >> 10)k."))
    #expect(file.record.isHeaderOverwritten == (name.contains(".ow1") || name.contains(".commit.")))
    #expect(file.record.hasChecksums == !name.contains(".crc0"))
  }

  @Test("the trailer of a ZFile with an overwritten header leads to the same content")
  func bothRecords() throws {
    let bytes = try Fixtures.bytes("zfile/l0.commit.lz4.4k.zf")
    let header = try ZFileRecord(parsing: bytes.span.bytes, as: .header)
    let trailer = try ZFileRecord(parsing: bytes.span.bytes.extracting(last: ZFileRecord.size), as: .trailer)
    #expect(header.isHeaderOverwritten && !trailer.isHeaderOverwritten)
    let size = UInt64(bytes.count)
    #expect(
      try JumpTable.location(record: header, fileSize: size)
        == JumpTable.location(record: trailer, fileSize: size))
    #expect(header.indexChecksum == trailer.indexChecksum && header.originalSize == trailer.originalSize)
  }

  @Test(
    "incompressible content decodes, also from 64 KiB blocks that overlaybd cannot read back",
    arguments: ["4k", "16k", "64k"])
  func incompressible(size: String) throws {
    let file = try WholeFile(try Fixtures.bytes("quirks/rnd.lz4.\(size).zf"))
    let content = try file.content()
    let expected = String(decoding: try Fixtures.bytes("quirks/rnd.bin.sha256").prefix(64), as: UTF8.self)
    #expect(content.count == 200_003)
    #expect(try sha256(content) == expected)
    #expect(file.table.view.maxStoredLength > file.table.view.blockSize)
  }

  @Test("a ZFile of a writer that left junk in unassigned fields decodes: the empty 64 GiB ext4 layer")
  func junkFields() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "zfile-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    _ = try output(of: "tar", "xzf", "\(Fixtures.folder)/ext4/ext4_64.tar.gz", "-C", folder.path)
    let bytes = [UInt8](try Data(contentsOf: folder.appending(path: "ext4_64")))
    #expect(try sha256(bytes) == "c3a417552a6cf9ffa959b541850bab7d7f08f4255425bf8b48c85f7b36b378d9")
    let file = try WholeFile(bytes)
    let view = file.table.view
    #expect(!file.record.hasDigest && !file.record.isHeaderOverwritten)
    #expect(view.blockCount == 132_309 && view.maxStoredLength == 4118 && view.originalSize == 541_937_664)
    var decoder = try BlockDecoder()
    let digest = try output(of: "sha256sum") { pipe in
      var batch: [UInt8] = []
      for block in 0..<view.blockCount {
        batch += try file.block(block, &decoder)
        guard batch.count >= 1 << 20 || block == view.blockCount - 1 else { continue }
        try pipe.write(contentsOf: batch)
        batch.removeAll(keepingCapacity: true)
      }
    }
    #expect(digest.hasPrefix("799dbd74cbcfbd7f37611057130b20fda0e1e671280df97cc3a05d73620d5ac7"))
  }

  @Test(
    "a wrapped layer is found in its archive",
    arguments: [("l0.commit.z.t.tar", 1536, 80554), ("l2.ustar.raw.tar", 512, 40960)])
  func tar(name: String, offset: UInt64, size: UInt64) throws {
    let bytes = try Fixtures.bytes("tar/\(name)")
    let found = try TarWrapper(
      parsing: bytes.span.bytes.extracting(first: TarWrapper.prefixSize), fileSize: UInt64(bytes.count))
    let tar = try #require(found)
    #expect(tar.payloadOffset == offset && tar.payloadSize == size)
  }

  @Test("a wrapped ZFile has the bytes of the bare one")
  func wrappedPayload() throws {
    let bytes = try Fixtures.bytes("tar/l0.commit.z.t.tar")
    let bare = try Fixtures.bytes("zfile/l0.commit.lz4.4k.zf")
    #expect(Array(bytes[1536..<1536 + bare.count]) == bare)
    #expect(TarWrapper.header(payloadSize: UInt64(bare.count)) == Array(bytes[..<1536]))
    #expect(TarWrapper.ending(payloadSize: UInt64(bare.count)) == Array(bytes[(1536 + bare.count)...]))
  }

  @Test("a bare layer is not taken for an archive")
  func bareLayer() throws {
    for path in ["tar/l1.commit.t.notwrapped.lsmt", "zfile/l0.commit.lz4.4k.zf", "lsmt/l0.lsmt"] {
      let bytes = try Fixtures.bytes(path)
      let found = try TarWrapper(parsing: bytes.span.bytes, fileSize: UInt64(bytes.count))
      #expect(found == nil, "\(path)")
    }
  }

  @Test(
    "our LZ4 writer gives the very bytes of overlaybd's",
    arguments: [
      ("l0.lib.lz4.4k.crc1.ow1.zf", 4096, true, true), ("l0.lib.lz4.4k.crc0.ow1.zf", 4096, false, true),
      ("l0.lib.lz4.64k.crc1.ow1.zf", 65536, true, true), ("l0.lib.lz4.64k.crc0.ow1.zf", 65536, false, true),
      ("l0.zfile.lz4.4k.zf", 4096, true, false), ("l2.commit.lz4.4k.zf", 4096, true, true),
    ])
  func sameBytes(name: String, blockSize: Int, checksums: Bool, rewritten: Bool) throws {
    let original = try Fixtures.bytes("zfile/\(name)")
    let content = try WholeFile(original).content()
    let ours = try compress(
      content, .lz4, blockSize: blockSize, checksums: checksums, rewritten: rewritten, piece: 10_000)
    #expect(ours == original)
  }
}
