import Glibc
import LSMT
import Posix
import TestSupport
import Testing
import UpperLayer

@testable import Image

@Suite struct UpperToolsTests {
  private func create(
    _ scratch: Scratch, _ name: String, size: UInt64? = nil, parent: String? = nil, isSparse: Bool = false
  ) throws -> CreateResult {
    var options = CreateOptions(directory: scratch(name), pendingFolder: scratch("run"))
    options.size = size
    options.parent = parent
    options.isSparse = isSparse
    return try UpperCreator.run(options)
  }

  private func open(_ config: String, _ scratch: Scratch) throws -> Image {
    try Image.open(configPath: config, upper: .readOnly(pendingFolder: scratch("run")))
  }

  /// Writes to the disk of `config` as a server does, and to `disk`, which is what it should read as.
  private func write(
    _ config: String, _ disk: inout [UInt8], _ count: Int, _ scratch: Scratch, _ random: inout SplitMix,
    ends: Bool = true
  ) throws {
    let opened = try OpenedUpper.open(
      .image(upperOf: config, pendingFolder: scratch("run")), pendingFolder: scratch("run"), remote: nil)
    for _ in 0..<count {
      let sectors = disk.count / 512
      let sector = Int.random(in: 0..<sectors, using: &random)
      let length = Int.random(in: 1...min(60, sectors - sector), using: &random)
      let range = sector * 512..<(sector + length) * 512
      if Int.random(in: 0..<4, using: &random) == 0 {
        try opened.upper.zero(
          sector: UInt64(sector), sectors: UInt64(length), keepsSpace: Bool.random(using: &random))
        disk.replaceSubrange(range, with: repeatElement(0, count: range.count))
      } else {
        let bytes = random.bytes(range.count)
        try bytes.withUnsafeBytes { bytes in
          let piece = UpperWrite(sector: UInt64(sector), bytes: bytes)
          try withUnsafePointer(to: piece) { try opened.upper.write(UnsafeBufferPointer(start: $0, count: 1)) }
        }
        disk.replaceSubrange(range, with: bytes)
      }
    }
    if ends { try opened.close() }
  }

  @Test("disks that are made, written, sealed, built on, committed, made larger and smaller read as the model says")
  func life() throws {
    var random = SplitMix.announced("lives of disks")
    for _ in 0..<40 {
      let scratch = try Scratch(inMemory: true)
      var config: String
      var disk: [UInt8]
      if Bool.random(using: &random) {
        let (image, raw) = try randomImage(scratch, &random)
        config = try create(
          scratch, "disk0", parent: image.config.path, isSparse: Bool.random(using: &random)
        ).configPath
        disk = raw
      } else {
        disk = [UInt8](repeating: 0, count: Int.random(in: 1...500, using: &random) * 512)
        config = try create(
          scratch, "disk0", size: UInt64(disk.count), isSparse: Bool.random(using: &random)
        ).configPath
      }
      #expect(try contents(of: try open(config, scratch)) == disk)
      for step in 1...6 {
        try write(config, &disk, Int.random(in: 0...30, using: &random), scratch, &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
          let sealed = try Sealer.run(config, pendingFolder: scratch("run"))
          #expect(sealed.configPath == config)
          try #require(try contents(of: try Image.open(configPath: config)) == disk)
          config = try create(
            scratch, "disk\(step)", parent: config, isSparse: Bool.random(using: &random)
          ).configPath
        case 1:
          let size = Int.random(in: 1...700, using: &random) * 512
          let result = try Resizer.run(config, to: UInt64(size), force: true, pendingFolder: scratch("run"))
          #expect(result.oldSize == UInt64(disk.count) && result.newSize == UInt64(size))
          disk = Array(disk.prefix(size)) + [UInt8](repeating: 0, count: max(0, size - disk.count))
        default:
          let layer = try Committer.run(
            config, pendingFolder: scratch("run"), to: LayerOptions(output: scratch("commit\(step)")))
          var parts = try ImageConfig.load(config)
          parts.upper = .init()
          parts.lowers.append(.init(file: layer.layerPath, digest: layer.digest, size: layer.size))
          #expect(try contents(of: try Image.open(config: parts)) == disk)
        }
        try #require(try contents(of: try open(config, scratch)) == disk)
      }
    }
  }

  @Test("a disk that grows has zeroes at its end, whatever a larger layer below has there")
  func hidden() throws {
    let scratch = try Scratch(inMemory: true)
    let source = try scratch.write("raw", [UInt8](repeating: 7, count: 40960))
    let base = try Importer.run(ImportOptions(source: source, directory: scratch("base"))).configPath
    let small = try create(scratch, "small", parent: base).configPath
    let result = try Resizer.run(small, to: 8192, force: true, pendingFolder: scratch("run"))
    #expect(result.lostBytes == 0 && result.notes.contains { $0.contains("32768 bytes of the layers below") })
    _ = try Sealer.run(small, pendingFolder: scratch("run"))
    let expected = [UInt8](repeating: 7, count: 8192) + [UInt8](repeating: 0, count: 81920)
    // A compact layer has nothing beyond its end that could hide it.
    var flat = try ImageConfig.load(base)
    flat.lowers.append(
      .init(
        file: try Committer.run(
          scratch("small/upper.data"), pendingFolder: scratch("run"), to: LayerOptions(output: scratch("layer"))
        ).layerPath))
    for parent in [small, try scratch.write("flat.json", try flat.encoded())] {
      for isSparse in [false, true] {
        let name = (parent == small ? "sealed" : "committed") + (isSparse ? "-sparse" : "")
        let made = try create(scratch, name, size: 90112, parent: parent, isSparse: isSparse)
        #expect(try contents(of: try open(made.configPath, scratch)) == expected)
        let equal = try create(scratch, name + "-equal", parent: parent, isSparse: isSparse).configPath
        _ = try Resizer.run(equal, to: 90112, pendingFolder: scratch("run"))
        #expect(try contents(of: try open(equal, scratch)) == expected)
        // A hole there would show the larger layer again.
        let upper = try OpenedUpper.open(
          .image(upperOf: equal, pendingFolder: scratch("run")), pendingFolder: scratch("run"), remote: nil)
        try upper.upper.zero(sector: 16, sectors: 160, keepsSpace: false)
        try upper.close()
        #expect(try contents(of: try open(equal, scratch)) == expected)
      }
    }
  }

  @Test("a disk's folder can be moved, and stays what it is")
  func moved() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 3)
    let made = try create(scratch, "a", size: 100 * 512)
    var disk = [UInt8](repeating: 0, count: 100 * 512)
    try write(made.configPath, &disk, 20, scratch, &random)
    try #require(rename(scratch("a"), scratch("b")) == 0)
    #expect(try contents(of: try open(scratch("b/image.json"), scratch)) == disk)
    let sealed = try Sealer.run(scratch("b/image.json"), pendingFolder: scratch("run"))
    #expect(sealed.layerPath == scratch("b/upper.data"))
    try #require(rename(scratch("b"), scratch("c")) == 0)
    #expect(try contents(of: try Image.open(configPath: scratch("c/image.json"))) == disk)
  }

  @Test("writes that only the run directory of a killed server has are not overlooked, and come back")
  func pending() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 4)
    let config = try create(scratch, "a", size: 100 * 512).configPath
    var disk = [UInt8](repeating: 0, count: 100 * 512)
    try write(config, &disk, 20, scratch, &random, ends: false)
    for _ in 0..<2 {
      let error = #expect(throws: ImageError.self) { try open(config, scratch) }
      #expect(error?.description.contains("warmblk recover") == true, "\(String(describing: error))")
    }
    #expect(throws: ImageError.self) {
      try Committer.run(config, pendingFolder: scratch("run"), to: LayerOptions(output: scratch("layer")))
    }
    // Who writes brings it in order.
    let result = try Resizer.run(config, to: 200 * 512, pendingFolder: scratch("run"))
    #expect(result.notes.contains { $0.contains("killed") })
    let image = try open(config, scratch)
    #expect(try contents(of: image) == disk + [UInt8](repeating: 0, count: 100 * 512))
  }

  @Test("a seal keeps what else is in a configuration, and one that was cut short is finished")
  func sealing() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 6)
    let (parent, raw) = try randomImage(scratch, &random)
    let made = try create(scratch, "a", parent: parent.config.path)
    var disk = raw
    try write(made.configPath, &disk, 20, scratch, &random)
    let lowers = parent.config.lowers.map { #"{ "file": "\#($0.file!)", "extra": "\u0001\"\\" }"# }
    let text = #"""
      { "zeta": [1.50, null, {}], "lowers": [\#(lowers.joined(separator: ", "))],
        "upper": { "data": "a/upper.data", "index": "a/upper.index", "vsize": 5 }, "alpha": "ü" }
      """#
    let config = try scratch.write("image.json", Array(text.utf8), mode: 0o640)
    try #require(symlink("image.json", scratch("link.json")) == 0)
    // As if it had ended before the configuration was written.
    _ = try Sealer.run(
      scratch("a/upper.data"), index: scratch("a/upper.index"), pendingFolder: scratch("run"))
    let result = try Sealer.run(scratch("link.json"), pendingFolder: scratch("run"))
    #expect(result.notes.contains { $0.contains("sealed already") })
    #expect(try contents(of: try Image.open(configPath: config)) == disk)
    let after = String(decoding: try readFile(config), as: UTF8.self)
    for kept in [
      "1.50", "null", "{}", "\"zeta\": [", #""extra": "\u0001\"\\""#, "\"alpha\": \"ü\"", "\"a/upper.data\"",
    ] {
      #expect(after.contains(kept), "\(kept) in \(after)")
    }
    #expect(!after.contains("\"upper\""))
    var status = stat()
    #expect(lstat(config, &status) == 0 && status.st_mode & 0o777 == 0o640)
    #expect(lstat(scratch("link.json"), &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
    // There is nothing left to seal.
    #expect(throws: ImageError.self) { try Sealer.run(config, pendingFolder: scratch("run")) }
  }

  @Test("the trace of an image stays above a layer that was sealed")
  func accelerationLayer() throws {
    let scratch = try Scratch(inMemory: true)
    let made = try create(scratch, "a", size: 4096)
    let json =
      #"{"lowers":[{"dir":"t"}],"accelerationLayer":true,"upper":{"data":"a/upper.data","index":"a/upper.index"}}"#
    let config = try scratch.write("image.json", Array(json.utf8))
    _ = try Sealer.run(config, pendingFolder: scratch("run"))
    let after = try ImageConfig.load(config)
    #expect(after.lowers.map(\.file) == [scratch("a/upper.data")] && after.accelerationLayer?.dir == scratch("t"))
    #expect(made.virtualSize == 4096)
  }

  @Test("what would lose or replace something is refused, and leaves everything as it was")
  func refusals() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 8)
    let (parent, raw) = try randomImage(scratch, &random)
    let parentPath = parent.config.path!
    func refuses(_ word: String, _ body: () throws -> Void, _ line: Int = #line) {
      let error = #expect(throws: ImageError.self, "line \(line)") { try body() }
      #expect(error?.description.contains(word) == true, "line \(line): \(String(describing: error))")
    }
    let config = try create(scratch, "disk", parent: parentPath).configPath
    var disk = raw
    try write(config, &disk, 20, scratch, &random)
    let files = try ["upper.data", "upper.index", "image.json"].map { try readFile(scratch("disk/\($0)")) }
    let before = try listDirectory(scratch.path).sorted()
    refuses("something in it") { _ = try create(scratch, "disk", size: 4096) }
    refuses("--size") { _ = try create(scratch, "new") }
    refuses("less than") { _ = try create(scratch, "new", size: UInt64(raw.count - 512), parent: parentPath) }
    refuses("multiple") { _ = try create(scratch, "new", size: 1000) }
    refuses("multiple") { _ = try create(scratch, "new", size: 0) }
    refuses("warmblk seal") { _ = try create(scratch, "new", parent: config) }
    refuses("No such file") { _ = try create(scratch, "new", parent: scratch("none.json")) }
    refuses("no `upper`") { _ = try Resizer.run(parentPath, to: 1 << 30, pendingFolder: scratch("run")) }
    refuses("fewer") { _ = try Resizer.run(config, to: 512, pendingFolder: scratch("run")) }
    refuses("multiple") {
      _ = try Resizer.run(config, to: 1_000_001, force: true, pendingFolder: scratch("run"))
    }
    refuses("no `upper`") { _ = try Sealer.run(parentPath, pendingFolder: scratch("run")) }
    refuses("--index") { _ = try Sealer.run(scratch("disk/upper.data"), pendingFolder: scratch("run")) }
    var images = [try open(config, scratch)]
    refuses("in use") { _ = try Sealer.run(config, pendingFolder: scratch("run")) }
    refuses("in use") { _ = try Resizer.run(config, to: 1 << 30, pendingFolder: scratch("run")) }
    // Made for another image.
    var other = try ImageConfig.load(config)
    other.lowers = [
      .init(file: try Importer.run(ImportOptions(source: scratch("raw"), directory: scratch("other"))).layerPath)
    ]
    let otherPath = try scratch.write("other/disk.json", try other.encoded())
    #expect(images.count == 1)
    images = []
    refuses("use the image") { _ = try Sealer.run(otherPath, pendingFolder: scratch("run")) }
    #expect(
      try listDirectory(scratch.path).filter { $0 != "other" && $0 != "run" }.sorted() == before.filter { $0 != "run" })
    #expect(try ["upper.data", "upper.index", "image.json"].map { try readFile(scratch("disk/\($0)")) } == files)
  }

  @Test("a sparse disk is as large as it was asked to be, and takes no space")
  func sparse() throws {
    let scratch = try Scratch(inMemory: true)
    let made = try create(scratch, "a", size: 1 << 30, isSparse: true)
    let image = try open(made.configPath, scratch)
    #expect(image.virtualSize == 1 << 30 && image.map.segmentCount == 0)
    #expect(image.layers[0].record.isSparse && image.layers[0].record.uuid.description == made.uuid)
  }
}
