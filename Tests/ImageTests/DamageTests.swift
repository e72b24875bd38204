import BlobStore
import Glibc
import Posix
import Testing
import TestSupport

@testable import Image

/// Files that were cut or changed on their way: an error that names the file, or the right bytes; never others.
@Suite(.enabled(if: Fixtures.folder != nil, Comment(rawValue: Fixtures.absence)))
struct DamageTests {
  private static let layers = [
    "lsmt/l2.lsmt", "lsmt/l1.sealed", "zfile/l2.commit.lz4.4k.zf", "zfile/l1.commit.lz4.64k.zf",
    "zfile/l0.commit.zstd.4k.zf", "zfile/l2.lib.zstd.8k.crc0.ow0.zf", "tar/l0.commit.z.t.tar",
    "tar/l2.ustar.raw.tar",
  ]

  /// What a layer holds, read through every mapping; errors must name the file.
  private func digest(_ path: String) throws(ImageError) -> String {
    let image = try Image.open(config: ImageConfig(lowers: [.init(file: path)]))
    var reader = ImageReader(image)
    var cursor = image.map.view.mappings(from: 0, count: image.virtualSize / 512)
    var sector: UInt64 = 0
    var all: [UInt8] = []
    while let mapping = cursor.next() {
      if !mapping.isZeroes {
        let buffer = Bytes(count: Int(mapping.sectors) * 512)
        try reader.read(into: buffer.all, at: sector * 512)
        all += Array("\(sector) ".utf8) + [UInt8](buffer.all)
      }
      sector += mapping.sectors
    }
    return "\(image.virtualSize) \(sha256(all))"
  }

  /// Bytes that a layer cannot do without. Behind a tar's payload there is only the tar's own end, and a ZFile whose
  /// header says where the jump table is (flag 8) does not need its trailer.
  private func neededBytes(_ bytes: [UInt8]) throws -> Int {
    if bytes[257..<262].elementsEqual("ustar".utf8) {
      // The size is in the file's own header, or in the record of a pax header before it, "20 size=81408\n".
      let isPax = bytes[156] == UInt8(ascii: "x")
      let field = String(decoding: isPax ? bytes[512..<1024] : bytes[124..<135], as: UTF8.self)
      let digits = isPax ? field.drop { $0 != "=" }.dropFirst().prefix { $0.isNumber } : field[...]
      return (isPax ? 1536 : 512) + (try #require(Int(digits, radix: isPax ? 10 : 8)))
    }
    let isFinalZFile = bytes.starts(with: "ZFile".utf8) && bytes[32] & 8 != 0
    return isFinalZFile ? bytes.count - 512 : bytes.count
  }

  @Test("a layer cut at any length is an error that names it, and a finding", arguments: layers)
  func truncated(name: String) throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix.announced("truncation of \(name)")
    let bytes = try Fixtures.bytes(name)
    let needed = try neededBytes(bytes)
    let path = try scratch.write("cut", bytes)
    let whole = try digest(path)
    // Every length of a small layer; of a larger one those near its structures, and some of the others.
    var lengths = Set(0..<(bytes.count < 14000 ? bytes.count : 4200))
    lengths.formUnion(max(0, needed - 600)..<bytes.count)
    lengths.formUnion((0..<400).map { _ in Int.random(in: 0..<bytes.count, using: &random) })
    for length in lengths.sorted(by: >) {
      try #require(truncate(path, length) == 0)
      do throws(ImageError) {
        let found = try digest(path)
        #expect(length >= needed && found == whole, "\(length) of \(bytes.count)")
      } catch {
        #expect(length < needed && error.description.contains(path), "\(length) of \(bytes.count): \(error)")
        let inspection = Inspector.inspect(path, verify: true)
        #expect(
          !inspection.findings.isEmpty || isSomethingElse(inspection, name),
          "\(length) of \(bytes.count): \(inspection)")
      }
    }
  }

  /// What the rest of a layer is in its own right: a layer that was sealed in place is a writable one again without
  /// its end, and a tar that ends before its magic begins with nothing but a file's name.
  private func isSomethingElse(_ inspection: Inspection, _ name: String) -> Bool {
    if name.hasSuffix(".sealed") { return inspection.kind == .upperData }
    return name.hasSuffix(".tar") && inspection.kind == .unknown && (1..<262).contains(inspection.fileSize)
  }

  @Test("a layer with any bit changed is an error that names it, or the right bytes", arguments: layers)
  func flipped(name: String) throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix.announced("flipped bits of \(name)")
    let bytes = try Fixtures.bytes(name)
    let whole = try digest(Fixtures.path(name))
    // Without CRCs a changed byte of data is another byte of data: only that nothing traps can be asked for.
    let hasChecksums = name.contains("commit")
    var positions = (0..<120).map { _ in Int.random(in: 0..<bytes.count, using: &random) }
    positions += (0..<60).map { _ in Int.random(in: max(0, bytes.count - 6000)..<bytes.count, using: &random) }
    positions += (0..<60).map { _ in Int.random(in: 0..<min(bytes.count, 4096), using: &random) }
    for position in positions {
      var changed = bytes
      changed[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      let path = try scratch.write("flipped", changed)
      do throws(ImageError) {
        let found = try digest(path)
        if hasChecksums { #expect(found == whole, "byte \(position) of \(bytes.count)") }
      } catch {
        #expect(error.description.contains(path), "\(error)")
      }
      _ = Inspector.inspect(path, verify: true).description
    }
  }

  @Test("absurd numbers in a layer's records are errors, never traps", arguments: layers)
  func absurd(name: String) throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix.announced("absurd numbers in \(name)")
    let bytes = try Fixtures.bytes(name)
    for _ in 0..<150 {
      var changed = bytes
      // Eight bytes somewhere in the first or last records.
      let near = Int.random(in: 0..<min(4200, bytes.count - 8), using: &random) & ~3
      let start = Bool.random(using: &random) ? near : bytes.count - 8 - near
      let value: UInt64 = [.max, .max - 1, 1 << 63, 1 << 32, 0, 1, random.next()].randomElement(using: &random)!
      for byte in 0..<8 { changed[start + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
      let path = try scratch.write("absurd", changed)
      do throws(ImageError) { _ = try digest(path) } catch {
        #expect(error.description.contains(path), "\(error)")
      }
      _ = Inspector.inspect(path).description
    }
  }

  @Test("verification names every bad block with its place and both checksums")
  func badBlocks() throws {
    let scratch = try Scratch(inMemory: true)
    let name = "zfile/l0.commit.lz4.4k.zf"
    var bytes = try Fixtures.bytes(name)
    let container = try Container.open(Blob(path: Fixtures.path(name)))
    let table = container.view
    let view = try #require(table)
    let bad = [3, 4, 20, 41]
    for block in bad { bytes[Int(view.storedOffset(ofBlock: block)) + 2] ^= 0x10 }
    let path = try scratch.write("bad", bytes)
    let inspection = Inspector.inspect(path, verify: true)
    #expect(inspection.findings.map(\.offset) == bad.map { view.storedOffset(ofBlock: $0) }, "\(inspection)")
    for finding in inspection.findings {
      #expect(finding.file == path && finding.expected?.hasPrefix("CRC 0x") == true)
      #expect(finding.found?.hasPrefix("CRC 0x") == true && finding.found != finding.expected)
    }
  }

  @Test("a layer of another size than the configuration says is an error")
  func size() throws {
    let path = Fixtures.path("lsmt/l2.lsmt")
    let config = ImageConfig(lowers: [.init(file: path, size: 40961)])
    #expect(throws: ImageError.sizeMismatch(path: path, expected: 40961, found: 40960)) {
      try Image.open(config: config)
    }
  }

  @Test(
    "a file that is no layer says what it is",
    arguments: ["README.md", "lsmt/l0.data", "lsmt/l0.index", "trace/t1.trace"])
  func notALayer(name: String) throws {
    let path = Fixtures.path(name)
    let error = #expect(throws: ImageError.self) {
      try Image.open(config: ImageConfig(lowers: [.init(file: path)]))
    }
    #expect(error?.description.contains(path) == true)
  }
}
