import LSMT
import Posix
import TestRegistry
import TestSupport
import Testing
import ZFile

@testable import Image

@Suite("One layer of layers in a registry")
struct RemoteMergeTests {
  /// Random writes over the disk of `setup`: the configuration over lowers in the registry, that over the same ones in files,
  /// and what the disk has.
  private func withUpper(_ setup: RegistryImage) throws -> (remote: String, local: String, disk: [UInt8]) {
    var random = SplitMix.announced("upper over a registry")
    let top = try setup.openLocal().layers.last!.record.uuid
    var upper = MadeUpper(sectors: setup.raw.count / sectorSize, uuid: .random(), parent: top)
    upper.fill(60, &random)
    let lowers = setup.digests.indices.map { ImageConfig.Lower(dir: setup.scratch("\($0)")) }
    let local = try upper.save(setup.scratch, over: lowers, name: "local.json")
    setup.config.upper = try ImageConfig.load(local).upper
    let remote = try setup.scratch.write("remote.json", try setup.config.encoded())
    return (remote, local, upper.disk(over: setup.raw))
  }

  private func open(_ path: String, _ setup: RegistryImage, _ settings: RemoteSettings?) throws -> Image {
    try Image.open(
      configPath: path, remote: settings, upper: .readOnly(pendingFolder: setup.scratch("run")))
  }

  private func merge(_ image: Image, to path: String, _ compression: Compression? = nil) throws -> LayerResult {
    var options = LayerOptions(output: path)
    options.compression = compression
    return try Merger.run(image, to: options)
  }

  @Test("is the same as of the layers in files, with an upper and without, and needs no registry")
  func same() throws {
    let setup = try RegistryImage()
    let (above, aboveFiles, disk) = try withUpper(setup)
    var config = setup.config
    config.upper = .init()
    let alone = try setup.scratch.write("alone.json", try config.encoded())
    config.lowers[1] = .init(dir: setup.scratch("1"))
    let mixed = try setup.scratch.write("mixed.json", try config.encoded())
    let parts = ImageConfig(lowers: setup.digests.indices.map { .init(dir: setup.scratch("\($0)")) })
    let aloneFiles = try setup.scratch.write("files.json", try parts.encoded())

    var made: [(result: LayerResult, expected: [UInt8])] = []
    var cacheless = setup.settings
    cacheless.cacheFolder = nil
    for (path, files, expected) in [
      (above, aboveFiles, disk), (alone, aloneFiles, setup.raw), (mixed, aloneFiles, setup.raw),
    ] {
      for compression in [nil, Compression.lz4, .zstd] {
        let number = made.count
        let local = try merge(try open(files, setup, nil), to: setup.scratch("local\(number)"), compression)
        let remote = try merge(
          try open(path, setup, number % 2 == 0 ? setup.settings : cacheless), to: setup.scratch("remote\(number)"),
          compression)
        #expect(
          remote.digest == local.digest && remote.size == local.size, "\(path), \(String(describing: compression))")
        #expect(remote.virtualSize == UInt64(expected.count) && remote.parentUUID == LayerUUID.null.description)
        made.append((remote, expected))
      }
    }
    #expect(setup.registry.stop())
    for (result, expected) in made {
      let layer = ImageConfig.Lower(file: result.layerPath, digest: result.digest, size: result.size)
      let image = try Image.open(config: ImageConfig(lowers: [layer]))
      let isSame = try contents(of: image) == expected
      #expect(isSame, "\(result.layerPath)")
    }
  }

  @Test("fetches each byte once, into the cache, where the next one finds it without the registry")
  func cached() throws {
    let setup = try RegistryImage()
    let path = try setup.scratch.write("image.json", try setup.config.encoded())
    let first = try merge(try open(path, setup, setup.settings), to: setup.scratch("first"))
    for (number, digest) in setup.digests.enumerated() {
      let bytes = setup.registry.count(digest).bytes
      #expect(bytes > 0 && bytes <= Int(setup.config.lowers[number].size!), "layer \(number): \(bytes)")
    }
    #expect(setup.registry.stop())
    #expect(try merge(try open(path, setup, setup.settings), to: setup.scratch("second")).digest == first.digest)
  }

  @Test("goes on after trouble on the way that passes")
  func passingTrouble() throws {
    let setup = try RegistryImage()
    let (path, files, _) = try withUpper(setup)
    let expected = try merge(try open(files, setup, nil), to: setup.scratch("expected")).digest
    var settings = setup.settings
    settings.cacheFolder = nil
    let image = try open(path, setup, settings)
    setup.registry.clearCounts()
    setup.registry.fail(
      .status(503), .reset(after: 100), .cut(after: 5000), .status(500), .shortBody(1), .status(429))
    #expect(try merge(image, to: setup.scratch("layer")).digest == expected)
    #expect(setup.requests > 6, "the trouble did not strike")
  }

  @Test("that fails says which layer and why, soon, and leaves nothing behind")
  func lastingTrouble() throws {
    let setup = try RegistryImage()
    let (path, _, _) = try withUpper(setup)
    try makeDirectories(setup.scratch("out"))
    var settings = setup.settings
    settings.cacheFolder = nil
    let image = try open(path, setup, settings)
    func expectFailure(_ word: String, milliseconds: UInt64) throws {
      let began = monotonicNanoseconds()
      let error = #expect(throws: ImageError.self) { try merge(image, to: setup.scratch("out/layer")) }
      let took = (monotonicNanoseconds() - began) / 1_000_000
      let text = error?.description ?? ""
      #expect(took < milliseconds, "\(took) ms: \(text)")
      #expect(setup.digests.contains { text.contains($0) } && text.contains(word), "\(text)")
      #expect(try listDirectory(setup.scratch("out")).isEmpty)
    }
    setup.registry.failAlways(.status(404))
    try expectFailure("404", milliseconds: 3000)
    // A command is as patient with a registry that is away as the reads of a device, and no less than 10 s.
    #expect(setup.registry.stop())
    try expectFailure("127.0.0.1", milliseconds: 15_000)
    // Nobody said how such layers are had.
    #expect(throws: ImageError.self) { try open(path, setup, nil) }
  }
}
