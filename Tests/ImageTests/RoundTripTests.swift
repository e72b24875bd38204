import BlobStore
import Glibc
import LSMT
import Posix
import Testing
import ZFile
import TestSupport

@testable import Image

@Suite struct RoundTripTests {
  @Test("random chains of raw images, imported in random ways, read and export as they were")
  func chains() throws {
    var random = SplitMix.announced("import chains")
    for chain in 0..<150 {
      let scratch = try Scratch(inMemory: true)
      var below: [UInt8] = []
      var parent: String?
      for level in 0..<Int.random(in: 1...4, using: &random) {
        let raw = nextImage(over: below, &random)
        let directory = scratch("layer\(level)")
        let imported = try importRandomly(raw, to: directory, parent: parent, scratch, &random)
        let padded = raw + [UInt8](repeating: 0, count: (512 - raw.count % 512) % 512)
        #expect(imported.notes.contains { $0.contains("no multiple of 512") } == (raw.count % 512 != 0))
        try checkConfig(imported, depth: level + 1)
        let image = try Image.open(configPath: imported.configPath)
        try #require(image.virtualSize == UInt64(padded.count), "chain \(chain)")
        try #require(
          try contents(of: image, step: Int.random(in: 700...300_000, using: &random)) == padded,
          "chain \(chain) level \(level)")
        try checkExport(image, padded, scratch("out\(level)"))
        (below, parent) = (raw, imported.configPath)
      }
    }
  }

  /// `below` with changes: other bytes, zeroes, an end cut off or added.
  private func nextImage(over below: [UInt8], _ random: inout SplitMix) -> [UInt8] {
    var size = Int.random(in: 1...500, using: &random) * 512
    if !below.isEmpty, Bool.random(using: &random) { size = below.count }
    if Int.random(in: 0..<6, using: &random) == 0 { size = max(1, size - Int.random(in: 1...511, using: &random)) }
    var raw = Array(below.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - below.count))
    for _ in 0..<Int.random(in: 0...12, using: &random) {
      let start = Int.random(in: 0..<raw.count, using: &random)
      let end = min(raw.count, start + Int.random(in: 1...20_000, using: &random))
      switch Int.random(in: 0..<4, using: &random) {
      case 0: for position in start..<end { raw[position] = 0 }
      case 1: for position in start..<end { raw[position] = UInt8(truncatingIfNeeded: random.next()) }
      case 2: raw[start] &+= 1
      default: for position in start..<end { raw[position] = UInt8(truncatingIfNeeded: position / 700) }
      }
    }
    return raw
  }

  private func importRandomly(
    _ raw: [UInt8], to directory: String, parent: String?, _ scratch: Scratch, _ random: inout SplitMix
  ) throws -> ImportResult {
    let source = scratch("raw")
    try writeSparse(raw, to: source)
    var options = ImportOptions(source: source, directory: directory)
    options.parent = parent
    options.compression = [nil, .lz4, .zstd].randomElement(using: &random)!
    options.blockSize = [4096, 8192, 16384, 32768, 65536].randomElement(using: &random)!
    options.granularity = [512, 4096, 4096, 65536].randomElement(using: &random)!
    options.isTarWrapped = Bool.random(using: &random)
    options.message = Bool.random(using: &random) ? "level" : ""
    // A pipe instead of the file: the importer opens its other end by name.
    if Int.random(in: 0..<3, using: &random) == 0 {
      options.source = scratch("pipe")
      try #require(mkfifo(options.source, 0o600) == 0)
      try runProgram(["sh", "-c", "exec > /dev/null; cat '\(source)' > '\(options.source)' 2> /dev/null &"])
      defer { _ = unlink(options.source) }
      return try Importer.run(options)
    }
    return try Importer.run(options)
  }

  /// Holes where there are zeroes.
  private func writeSparse(_ bytes: [UInt8], to path: String) throws {
    let file = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
    try file.truncate(to: UInt64(bytes.count))
    try bytes.withUnsafeBytes { all in
      for start in stride(from: 0, to: all.count, by: 4096) {
        let part = UnsafeRawBufferPointer(rebasing: all[start..<min(all.count, start + 4096)])
        if !isZero(part) { try file.writeFully(part, at: UInt64(start)) }
      }
    }
  }

  private func checkConfig(_ imported: ImportResult, depth: Int) throws {
    let config = try ImageConfig.load(imported.configPath)
    #expect(config.lowers.count == depth && config.warnings.isEmpty)
    let top = try #require(config.lowers.last)
    #expect(top == .init(file: imported.layerPath, digest: imported.digest, size: imported.size))
    for lower in config.lowers {
      let blob = try Blob(path: try #require(lower.file))
      #expect(lower.digest == "sha256:\(try blob.sha256())" && lower.size == blob.fileSize)
    }
    let image = try Image.open(config: config)
    for (below, above) in zip(image.layers, image.layers.dropFirst()) {
      #expect(above.record.parentUUID == below.record.uuid && above.header.parentUUID == below.record.uuid)
    }
    for layer in image.layers {
      #expect(layer.header.virtualSize == layer.record.virtualSize && !layer.record.uuid.isNull)
    }
  }

  private func checkExport(_ image: Image, _ expected: [UInt8], _ path: String) throws {
    let written = try Exporter.run(image, to: path)
    #expect(try readFile(path) == expected)
    let stored = expected.withUnsafeBytes { all in
      stride(from: 0, to: all.count, by: 4096).count { !isZero(all.part($0..<min(all.count, $0 + 4096))) }
    }
    #expect(written <= UInt64(stored * 4096))
  }

  @Test("only what differs from the parent is stored, and zeroes only where the parent has something else")
  func compact() throws {
    let scratch = try Scratch(inMemory: true)
    var raw = [UInt8](repeating: 0, count: 8 << 20)
    for position in 0..<1 << 20 { raw[position] = UInt8(truncatingIfNeeded: position % 251) + 1 }
    var options = ImportOptions(source: try scratch.write("raw0", raw), directory: scratch("0"))
    let base = try Importer.run(options)
    #expect(base.dataBytes == 1 << 20 && base.zeroedBytes == 0 && base.segmentCount == 1)
    #expect(base.size == (1 << 20) + 3 * 4096)
    options.parent = base.configPath
    options.directory = scratch("1")
    let same = try Importer.run(options)
    #expect(same.segmentCount == 0 && same.dataBytes == 0 && same.size == 8192)
    for position in 8192..<16384 { raw[position] = 0 }
    raw[40000] &+= 1
    raw[5 << 20] = 9
    options.source = try scratch.write("raw1", raw)
    options.directory = scratch("2")
    let changed = try Importer.run(options)
    #expect(changed.dataBytes == 2 * 4096 && changed.zeroedBytes == 8192 && changed.segmentCount == 3)
    options.granularity = 512
    options.directory = scratch("3")
    let fine = try Importer.run(options)
    #expect(fine.dataBytes == 2 * 512 && fine.zeroedBytes == 8192)
    #expect(try contents(of: try Image.open(configPath: fine.configPath)) == raw)
  }

  @Test("what a smaller layer hid does not come back through a larger one on top")
  func shrinkAndGrow() throws {
    let scratch = try Scratch(inMemory: true)
    var parent: String?
    for (level, count) in [4096 * 8, 4096 * 2, 4096 * 12].enumerated() {
      let raw = [UInt8](repeating: level == 0 ? 7 : 0, count: count)
      var options = ImportOptions(source: try scratch.write("raw", raw), directory: scratch("\(level)"))
      options.parent = parent
      parent = try Importer.run(options).configPath
      #expect(try contents(of: try Image.open(configPath: parent!)) == raw)
    }
  }

  @Test("an import replaces nothing unless forced, and its own parent never")
  func noOverwrite() throws {
    let scratch = try Scratch(inMemory: true)
    var options = ImportOptions(
      source: try scratch.write("raw", [UInt8](repeating: 3, count: 9000)), directory: scratch("a"))
    let first = try Importer.run(options)
    let before = try readFile(first.layerPath)
    #expect(throws: ImageError.self) { try Importer.run(options) }
    #expect(try readFile(first.layerPath) == before)
    options.force = true
    options.parent = first.configPath
    #expect(throws: ImageError.self) { try Importer.run(options) }
    #expect(try readFile(first.layerPath) == before)
    options.parent = nil
    options.source = try scratch.write("other", [UInt8](repeating: 4, count: 512))
    let second = try Importer.run(options)
    #expect(second.virtualSize == 512 && second.uuid != first.uuid)
    #expect(try listDirectory(scratch("a")).sorted() == ["image.json", "overlaybd.commit"])
  }

  @Test("an import that fails leaves no file")
  func cleanFailure() throws {
    let scratch = try Scratch(inMemory: true)
    var options = ImportOptions(source: try scratch.write("empty", []), directory: scratch("a"))
    #expect(throws: ImageError.self) { try Importer.run(options) }
    options.source = "/nonexistent"
    #expect(throws: ImageError.self) { try Importer.run(options) }
    options.source = scratch.path
    #expect(throws: ImageError.self) { try Importer.run(options) }
    options.compression = .lz4
    options.blockSize = 5000
    #expect(throws: ImageError.self) { try Importer.run(options) }
    options.granularity = 1000
    #expect(throws: ImageError.self) { try Importer.run(options) }
    #expect(try listDirectory(scratch("a")).isEmpty)
  }

  @Test("an export replaces nothing unless forced, and no layer of its image ever")
  func exportTargets() throws {
    let scratch = try Scratch(inMemory: true)
    let raw = [UInt8](repeating: 3, count: 8192)
    let imported = try Importer.run(
      ImportOptions(source: try scratch.write("raw", raw), directory: scratch("a")))
    let image = try Image.open(configPath: imported.configPath)
    let target = try scratch.write("out", [1, 2, 3])
    #expect(throws: ImageError.self) { try Exporter.run(image, to: target) }
    #expect(try readFile(target) == [1, 2, 3])
    let layer = try readFile(imported.layerPath)
    #expect(throws: ImageError.self) { try Exporter.run(image, to: imported.layerPath, force: true) }
    #expect(throws: ImageError.self) { try Exporter.run(image, to: "/dev/null", force: true) }
    #expect(try readFile(imported.layerPath) == layer)
    #expect(try Exporter.run(image, to: target, force: true) == 8192)
    #expect(try readFile(target) == raw)
  }

  @Test("what is imported decodes with the independent decoder", .enabled(if: Fixtures.folder != nil))
  func independentDecoder() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 11)
    let raw = nextImage(over: [UInt8](repeating: 1, count: 400_000), &random)
    let source = try scratch.write("raw", raw)
    for (number, compression) in [nil, Compression.lz4, .zstd].enumerated() {
      for isTarWrapped in [false, true] {
        var options = ImportOptions(source: source, directory: scratch("\(number)\(isTarWrapped)"))
        options.compression = compression
        options.isTarWrapped = isTarWrapped
        options.uuid = LayerUUID("0b1e5e2c-8f0a-4c55-9d6b-0123456789ab")
        let result = try Importer.run(options)
        let text = String(
          decoding: try runProgram(["python3", Fixtures.path("decode.py"), result.layerPath]), as: UTF8.self)
        if isTarWrapped { #expect(text.contains("payload@1536") && text.contains("tail_nonzero=False")) }
        if compression == nil {
          #expect(text.contains("uuid=b'0B1E5E2C-8F0A-4C55-9D6B-0123456789AB"))
          #expect(text.contains("virtual_size=\(result.virtualSize)") && text.contains("slack=0"))
        } else {
          checkChecksums(text)
        }
      }
    }
  }
}
