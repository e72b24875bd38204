import BlobStore
import Posix
import TestRegistry
import TestSupport
import ZFile

@testable import Image

/// A registry with the layers of a random disk, and a configuration of them.
final class RegistryImage {
  let scratch: Scratch
  let registry: TestRegistry
  let raw: [UInt8]
  var config: ImageConfig
  /// Of its layers.
  let digests: [String]

  /// Three layers over each other: raw, LZ4, Zstandard, each of so many sectors at random places.
  init(megabytes: Int = 4, writes: Int = 200) throws {
    scratch = try Scratch(inMemory: true)
    registry = try TestRegistry()
    var random = SplitMix.announced("disk in a registry")
    var raw = [UInt8](repeating: 0, count: megabytes << 20)
    var parent: String?
    for (number, compression) in [nil, Compression.lz4, .zstd].enumerated() {
      for _ in 0..<writes {
        let sector = Int.random(in: 0..<raw.count / 512, using: &random)
        let seed = random.next()
        raw.withUnsafeMutableBytes { bytes in
          for word in 0..<64 {
            let value = seed &* UInt64(word % 9 + 1)
            bytes.storeBytes(of: value, toByteOffset: sector * 512 + word * 8, as: UInt64.self)
          }
        }
      }
      let source = try scratch.write("raw", raw)
      var options = ImportOptions(source: source, directory: scratch("\(number)"))
      options.compression = compression
      options.parent = parent
      parent = try Importer.run(options).configPath
    }
    self.raw = raw
    var config = try ImageConfig.load(parent!)
    var digests: [String] = []
    for number in config.lowers.indices {
      let lower = config.lowers[number]
      registry.add(lower.digest!, try readFile(lower.file!, limit: 1 << 28))
      digests.append(lower.digest!)
      config.lowers[number] = .init(digest: lower.digest, size: lower.size)
    }
    config.repoBlobURL = registry.repoBlobURL()
    self.config = config
    self.digests = digests
  }

  deinit { _ = registry.stop() }

  var settings: RemoteSettings {
    var settings = RemoteSettings()
    settings.registry.credentials = []
    settings.cacheFolder = scratch("cache")
    settings.ioTimeout = 5000
    return settings
  }

  var requests: Int { digests.reduce(0) { $0 + registry.count($1).requests } }
}

extension RegistryImage {
  func open() throws -> Image { try Image.open(config: config, remote: settings) }

  /// The same layers as files of this machine.
  func openLocal() throws -> Image {
    try Image.open(config: ImageConfig(lowers: digests.indices.map { .init(dir: scratch("\($0)")) }))
  }
}
