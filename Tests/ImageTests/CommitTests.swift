import Glibc
import LSMT
import Posix
import TestSupport
import Testing
import ZFile

@testable import Image

@Suite struct CommitTests {
  private func open(_ config: String, _ scratch: Scratch) throws -> Image {
    try Image.open(configPath: config, upper: .readOnly(pendingFolder: scratch("run")))
  }

  private func commit(
    _ source: String, index: String? = nil, to output: String, _ scratch: Scratch,
    _ change: (inout LayerOptions) -> Void = { _ in }
  ) throws -> LayerResult {
    var options = LayerOptions(output: output)
    change(&options)
    return try Committer.run(source, index: index, pendingFolder: scratch("run"), to: options)
  }

  @Test("random uppers over random images read, commit, merge and export as the model has them")
  func model() throws {
    var random = SplitMix.announced("random uppers")
    for _ in 0..<120 {
      let scratch = try Scratch(inMemory: true)
      let (below, raw) = try randomImage(scratch, &random)
      let sectors = Bool.random(using: &random) ? raw.count / 512 : Int.random(in: 1...900, using: &random)
      // A size of 0 is that of the layers below.
      let isAdopted = sectors == raw.count / 512 && Bool.random(using: &random)
      var upper = MadeUpper(
        sectors: sectors, virtualSize: isAdopted ? 0 : nil, uuid: .random(), parent: below.layers.last!.record.uuid)
      upper.fill(Int.random(in: 0...40, using: &random), &random)
      if Bool.random(using: &random) { upper.index += random.bytes(Int.random(in: 1...15, using: &random)) }
      if Bool.random(using: &random) { upper.data += random.bytes(Int.random(in: 1...700, using: &random)) }
      let lowers = below.config.lowers
      let config = try upper.save(scratch, over: lowers)
      let disk = upper.disk(over: raw)
      let image = try open(config, scratch)
      try #require(image.virtualSize == UInt64(disk.count) && image.warnings.isEmpty)
      try #require(try contents(of: image, step: Int.random(in: 700...90_000, using: &random)) == disk)
      _ = try Exporter.run(image, to: scratch("raw.out"))
      #expect(try readFile(scratch("raw.out")) == disk)
      try checkCommit(config, upper, lowers: lowers, disk, scratch, &random)
      let merged = try merge(image, to: scratch("merged"), &random)
      let isSame = try contents(of: merged) == disk
      #expect(isSame && merged.map.usage[0].zeroedSectors == 0)
    }
  }

  private func merge(_ image: Image, to path: String, _ random: inout SplitMix) throws -> Image {
    var options = LayerOptions(output: path)
    options.compression = [nil, .lz4, .zstd].randomElement(using: &random)!
    options.isTarWrapped = Bool.random(using: &random)
    let made = try Merger.run(image, to: options)
    return try Image.open(
      config: ImageConfig(lowers: [.init(file: made.layerPath, digest: made.digest, size: made.size)]))
  }

  /// The committed layer says the same as the upper, over the layers below and alone, whichever way it was named.
  private func checkCommit(
    _ config: String, _ upper: MadeUpper, lowers: [ImageConfig.Lower], _ disk: [UInt8], _ scratch: Scratch,
    _ random: inout SplitMix
  ) throws {
    let made = try commit(config, to: scratch("committed"), scratch)
    let again = try commit(scratch("upper.data"), index: scratch("upper.index"), to: scratch("again"), scratch)
    let digest = "sha256:\(sha256(try readFile(made.layerPath)))"
    #expect(again.digest == made.digest && made.digest == digest)
    let layer = ImageConfig.Lower(file: made.layerPath, digest: made.digest, size: made.size)
    let image = try Image.open(config: ImageConfig(lowers: lowers + [layer]))
    try #require(try contents(of: image) == disk)
    let record = image.layers.last!.record
    #expect(record.uuid.isNull && record.parentUUID == image.layers[lowers.count - 1].record.uuid)
    // A sealed layer is committed to the same bytes: nothing is left to compact.
    let twice = try commit(made.layerPath, to: scratch("twice"), scratch) {
      $0.compression = [nil, .lz4, .zstd].randomElement(using: &random)!
      $0.blockSize = [4096, 16384, 65536].randomElement(using: &random)!
    }
    let plain = try commit(twice.layerPath, to: scratch("plain"), scratch)
    #expect(plain.digest == made.digest)
    // No block of zeroes is stored.
    let opened = try Layer.open(try .init(path: made.layerPath))
    let reader = try opened.layer.reader()
    for segment in opened.segments where !segment.isZeroed {
      let bytes = try reader.bytes(at: segment.moffset * 512, count: Int(segment.length) * 512)
      let first = Int((8 - segment.offset % 8) % 8) * 512
      for start in stride(from: first, through: bytes.count - 4096, by: 4096) {
        #expect(!bytes[start..<start + 4096].allSatisfy { $0 == 0 })
      }
    }
  }

  @Test(
    "options of the layer are in it, and it decodes with the independent decoder", .enabled(if: Fixtures.folder != nil))
  func options() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 5)
    var upper = MadeUpper(sectors: 4000, uuid: .random())
    upper.fill(60, &random)
    let config = try upper.save(scratch)
    for compression in [nil, Compression.lz4, .zstd] {
      let made = try commit(config, to: scratch("layer"), scratch) {
        $0.compression = compression
        $0.uuid = LayerUUID("0b1e5e2c-8f0a-4c55-9d6b-0123456789ab")!
        $0.parentUUID = LayerUUID("1b1e5e2c-8f0a-4c55-9d6b-0123456789ab")!
        $0.tag = "a note"
        $0.force = true
      }
      let layer = try Image.open(config: ImageConfig(lowers: [.init(file: made.layerPath)])).layers[0]
      for record in [layer.header, layer.record] {
        #expect(record.uuid.description == made.uuid && record.parentUUID.description == made.parentUUID)
        #expect(record.userTag == Array("a note".utf8) && record.virtualSize == 4000 * 512)
      }
      let text = String(
        decoding: try runProgram(["python3", Fixtures.path("decode.py"), made.layerPath]), as: UTF8.self)
      if compression == nil {
        #expect(text.contains("uuid=b'0B1E5E2C-8F0A-4C55-9D6B-0123456789AB") && text.contains("tag=b'a note'"))
        #expect(text.contains("slack=0") && text.contains("flags=0x7") && text.contains("flags=0x6"))
      } else {
        checkChecksums(text)
      }
    }
  }

  @Test("entries of data that a crash lost are left out and told of")
  func torn() throws {
    let scratch = try Scratch(inMemory: true)
    var upper = MadeUpper(sectors: 64)
    upper.write([UInt8](repeating: 1, count: 4096), at: 0)
    let disk = upper.disk(over: [])
    upper.write([UInt8](repeating: 2, count: 4096), at: 4)
    upper.data.removeLast(100)
    upper.add(Segment(offset: 1, length: 3, moffset: 1 << 40))
    upper.add(Segment(offset: 1, length: 3, moffset: 2))
    let config = try upper.save(scratch)
    let image = try open(config, scratch)
    #expect(image.warnings.count == 1 && image.warnings[0].contains("3 of 4 entries"))
    // What is whole of the second write is there: 4096 bytes without the last sector.
    let part = Array(disk[..<2048]) + [UInt8](repeating: 2, count: 7 * 512)
    #expect(try contents(of: image) == part + disk[part.count...])
    let made = try commit(config, to: scratch("layer"), scratch)
    #expect(made.notes == image.warnings && made.segmentCount == 1)
  }

  @Test("what lies beyond the end of an upper that was made smaller is not committed")
  func shrunk() throws {
    let scratch = try Scratch(inMemory: true)
    var upper = MadeUpper(sectors: 20, virtualSize: 5000)
    upper.write([UInt8](repeating: 1, count: 20 * 512), at: 0)
    let made = try commit(try upper.save(scratch), to: scratch("layer"), scratch)
    #expect(made.dataBytes == 10 * 512 && made.virtualSize == 5000)
    let image = try Image.open(config: ImageConfig(lowers: [.init(file: made.layerPath)]))
    #expect(try contents(of: image) == [UInt8](repeating: 1, count: 5000))
  }

  @Test("an upper that a server writes is refused, and readers do not keep each other out")
  func locked() throws {
    let scratch = try Scratch(inMemory: true)
    let config = try MadeUpper(sectors: 8).save(scratch)
    let writer = try Descriptor.open(scratch("upper.data"), O_RDWR)
    var images = [try open(config, scratch), try open(config, scratch)]
    #expect(flock(writer.rawValue, LOCK_EX | LOCK_NB) != 0 && images.count == 2)
    images = []
    try #require(flock(writer.rawValue, LOCK_EX | LOCK_NB) == 0)
    let error = #expect(throws: ImageError.self) { try open(config, scratch) }
    #expect(error?.description.contains("warmblk list") == true)
    #expect(throws: ImageError.self) { try commit(config, to: scratch("layer"), scratch) }
    #expect(!fileExists(scratch("layer")))
  }

  @Test("what cannot be meant is refused in words, and nothing is touched")
  func refusals() throws {
    let scratch = try Scratch(inMemory: true)
    var upper = MadeUpper(sectors: 64, uuid: .random())
    upper.write([UInt8](repeating: 1, count: 4096), at: 0)
    let config = try upper.save(scratch)
    let (data, index) = (scratch("upper.data"), scratch("upper.index"))
    let other = try scratch.write("other.index", MadeUpper(sectors: 64, uuid: .random()).index)
    let sealed = try commit(config, to: scratch("layer"), scratch).layerPath
    let plain = try scratch.config([sealed], name: "plain.json")
    let before = try listDirectory(scratch.path).sorted()
    func refuses(_ word: String, _ body: () throws -> Void, _ line: Int = #line) {
      let error = #expect(throws: ImageError.self, "line \(line)") { try body() }
      #expect(error?.description.contains(word) == true, "line \(line): \(String(describing: error))")
    }
    refuses("index file") { _ = try commit(data, to: scratch("out"), scratch) }
    refuses("is the index file") { _ = try commit(index, to: scratch("out"), scratch) }
    refuses("index of upper") { _ = try commit(data, index: other, to: scratch("out"), scratch) }
    refuses("data file") { _ = try commit(data, index: data, to: scratch("out"), scratch) }
    refuses("leave --index out") { _ = try commit(config, index: index, to: scratch("out"), scratch) }
    refuses("leave --index out") { _ = try commit(sealed, index: index, to: scratch("out"), scratch) }
    refuses("no `upper`") { _ = try commit(plain, to: scratch("out"), scratch) }
    refuses("exists already") { _ = try commit(config, to: sealed, scratch) }
    for source in [data, index, config] {
      refuses("made of") { _ = try commit(config, to: source, scratch) { $0.force = true } }
      refuses("made of") {
        var options = LayerOptions(output: source)
        options.force = true
        _ = try Merger.run(try open(config, scratch), to: options)
      }
      refuses("file of the image") {
        _ = try Exporter.run(try open(config, scratch), to: source, force: true)
      }
    }
    refuses("tag") {
      _ = try commit(config, to: scratch("out"), scratch) { $0.tag = String(repeating: "x", count: 257) }
    }
    refuses("creating") { _ = try commit(config, to: scratch("nowhere/out"), scratch) }
    refuses("upper.data") { _ = try Image.open(configPath: config) }
    #expect(try listDirectory(scratch.path).sorted() == before)
    #expect(try readFile(data) == upper.data)
    #expect(try readFile(index) == upper.index)
  }

  @Test("a layer of too many segments is refused before it is written, unless it is allowed")
  func manyEntries() throws {
    let scratch = try Scratch(inMemory: true)
    let count = 1_000_100
    var upper = MadeUpper(sectors: 2 * count)
    upper.data += [UInt8](repeating: 7, count: 512)
    for number in 0..<count {
      let word = UInt64(2 * number)
      withUnsafeBytes(of: (word | 1 << 50).littleEndian) { upper.index += $0 }
      withUnsafeBytes(of: UInt64(8).littleEndian) { upper.index += $0 }
    }
    let config = try upper.save(scratch)
    let error = #expect(throws: ImageError.self) { try commit(config, to: scratch("layer"), scratch) }
    #expect(error?.description.contains("--allow-many-entries") == true)
    #expect(try listDirectory(scratch.path).sorted() == ["image.json", "upper.data", "upper.index"])
    let made = try commit(config, to: scratch("layer"), scratch) { $0.allowsManyEntries = true }
    #expect(made.segmentCount == UInt64(count) && made.notes.count == 1)
  }
}
