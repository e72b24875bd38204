import BlobStore
import Glibc
import Posix
import Registry
import TestRegistry
import Testing
import ZFile
import TestSupport
import Trace

@testable import Image

/// Images whose layers are blobs of a registry on this machine.
@Suite("Layers in a registry")
struct RemoteLayerTests {
  @Test("read as the disk that they were made of, and from the cache without the registry")
  func reads() throws {
    let setup = try RegistryImage()
    #expect(try contents(of: try Image.open(config: setup.config, remote: setup.settings)) == setup.raw)
    #expect(setup.registry.stop())
    #expect(try contents(of: try Image.open(config: setup.config, remote: setup.settings)) == setup.raw)
  }

  @Test("fetch each byte once for several readers of one cache")
  func onceForAll() throws {
    let setup = try RegistryImage()
    let images = try (0..<4).map { _ in try Image.open(config: setup.config, remote: setup.settings) }
    for image in images { #expect(try contents(of: image) == setup.raw) }
    for (number, digest) in setup.digests.enumerated() {
      let size = Int(setup.config.lowers[number].size!)
      #expect(setup.registry.count(digest).bytes <= size, "layer \(number)")
    }
  }

  @Test("are opened in at most two rounds, all at once, and a second time without a request")
  func roundTrips() throws {
    let setup = try RegistryImage()
    setup.registry.setDelay(200)
    let began = monotonicNanoseconds()
    let image = try Image.open(config: setup.config, remote: setup.settings)
    let milliseconds = (monotonicNanoseconds() - began) / 1_000_000
    #expect(milliseconds < 200 * 3, "\(milliseconds) ms with 200 ms for each request")
    #expect(setup.requests <= 3 * setup.digests.count)
    setup.registry.clearCounts()
    _ = try Image.open(config: setup.config, remote: setup.settings)
    #expect(setup.requests == 0)
    withExtendedLifetime(image) {}
  }

  @Test("work without a size, and without a cache")
  func lessToGoBy() throws {
    let setup = try RegistryImage()
    for number in setup.config.lowers.indices { setup.config.lowers[number].size = nil }
    #expect(try contents(of: try Image.open(config: setup.config, remote: setup.settings)) == setup.raw)
    var settings = setup.settings
    settings.cacheFolder = nil
    #expect(try contents(of: try Image.open(config: setup.config, remote: settings)) == setup.raw)
    settings.cacheFolder = "/proc/nowhere"
    let image = try Image.open(config: setup.config, remote: settings)
    #expect(image.remote?.cacheProblem != nil)
    #expect(try contents(of: image) == setup.raw)
  }

  @Test("can be mixed with files of this machine")
  func mixed() throws {
    let setup = try RegistryImage()
    setup.config.lowers[1] = .init(dir: setup.scratch("1"))
    #expect(try contents(of: try Image.open(config: setup.config, remote: setup.settings)) == setup.raw)
    #expect(setup.registry.count(setup.digests[1]).requests == 0)
  }

  @Test("that cannot be had are errors at once, with the layer and the reason")
  func errors() throws {
    let setup = try RegistryImage()
    func failure(_ change: (inout ImageConfig) -> Void) -> String {
      var config = setup.config
      change(&config)
      // Nothing of the attempts before.
      _ = try? runProgram(["rm", "-rf", setup.scratch("cache")])
      let began = monotonicNanoseconds()
      do throws(ImageError) {
        _ = try Image.open(config: config, remote: setup.settings)
        return "none"
      } catch {
        #expect(monotonicNanoseconds() - began < 3_000_000_000, "\(error)")
        return error.description
      }
    }
    let other = "sha256:" + String(repeating: "0", count: 64)
    #expect(failure { $0.lowers[1].digest = other }.contains(other))
    #expect(failure { $0.lowers[1].digest = other }.contains("404"))
    #expect(failure { $0.lowers[0].digest = "sha256:nonsense" }.contains("64 lower-case"))
    #expect(failure { $0.lowers[2].size! += 100 }.contains(setup.digests[2]))
    #expect(failure { $0.lowers[2].size! -= 1 }.contains("\(setup.config.lowers[2].size!)"))
    #expect(failure { $0.repoBlobURL = "http://127.0.0.1:1/v2/a/blobs" }.contains("127.0.0.1:1"))
    #expect(failure { $0.repoBlobURL = nil }.contains("repoBlobUrl"))
    // With its own digest: of one that has another the store may find that out before anybody looks what it is.
    let noLayer = Array("not a layer at all".utf8)
    setup.registry.add("sha256:\(sha256(noLayer))", noLayer)
    #expect(
      failure { $0.lowers[1] = .init(digest: "sha256:\(sha256(noLayer))", size: 18) }.contains("neither an LSMT layer"))
    #expect(throws: ImageError.self) { try Image.open(config: setup.config) }
  }

  @Test("that were named with a wrong size are not known by it ever after")
  func wrongSize() throws {
    let setup = try RegistryImage()
    var wrong = setup.config
    for number in wrong.lowers.indices { wrong.lowers[number].size! += 70_000 }
    #expect(throws: ImageError.self) { try Image.open(config: wrong, remote: setup.settings) }
    #expect(try contents(of: try Image.open(config: setup.config, remote: setup.settings)) == setup.raw)
    // What has been read is of a size that the registry has confirmed.
    let error = #expect(throws: ImageError.self) { try Image.open(config: wrong, remote: setup.settings) }
    #expect(error?.description.contains("\(wrong.lowers[0].size!)") ?? false)
  }

  @Test("cost a start what was foretold, within 15 %: opened, read cold, and brought before")
  func forecast() throws {
    let setup = try RegistryImage(megabytes: 16, writes: 12_000)
    var settings = setup.settings
    settings.cacheFolder = nil
    var random = SplitMix.announced("reads that are foretold")
    let reads = (0..<60).map { number in
      let start = UInt64.random(in: 0..<(16 << 20) - 65_536, using: &random) / 4096 * 4096
      return DeviceRead(microseconds: UInt64(number + 1) * 1000, range: start..<start + 16_384)
    }
    let image = try Image.open(config: setup.config, remote: settings)
    let trace = try image.trace(of: reads).trace
    let forecast = StartForecast([trace], of: image, roundTrip: 0.021, bytesPerSecond: 25e6)
    var bytes: Int { setup.digests.reduce(0) { $0 + setup.registry.count($1).bytes } }
    func expect(_ cost: StartForecast.Cost, _ what: String) {
      #expect(abs(Double(cost.requests) - Double(setup.requests)) <= 0.15 * Double(setup.requests), "\(what): \(cost)")
      #expect(abs(Double(cost.bytes) - Double(bytes)) <= 0.15 * Double(bytes), "\(what): \(cost), was \(bytes) bytes")
      setup.registry.clearCounts()
    }
    expect(forecast.opening, "opening")
    #expect(forecast.cold.requests > 8, "\(forecast)")
    // Reads of several layers wait for all of them together.
    #expect(forecast.cold.seconds > 0.021 * Double(forecast.cold.requests) / 3, "\(forecast)")
    var buffer = [UInt8](repeating: 0, count: 16_384)
    var reader = ImageReader(image)
    for read in reads { try buffer.withUnsafeMutableBytes { try reader.read(into: $0, at: read.range.lowerBound) } }
    expect(forecast.cold, "cold")

    let other = try Image.open(config: setup.config, remote: settings)
    setup.registry.clearCounts()
    let plan = WarmPlan([trace], for: other)
    for request in plan.requests {
      let blob = try #require(other.layers[request.layer].blob.remote?.blob)
      try other.remote?.store.bring(blob, request.range, .prefetch, deadline: Deadline(milliseconds: 5000))
    }
    expect(forecast.warming, "warming")
    #expect(forecast.warm == StartForecast.Cost(requests: 0, bytes: 0, seconds: 0))
    var second = ImageReader(other)
    for read in reads { try buffer.withUnsafeMutableBytes { try second.read(into: $0, at: read.range.lowerBound) } }
    #expect(setup.requests == 0)
  }

  @Test("are inspected by their address, and warmed as a whole")
  func warming() throws {
    let setup = try RegistryImage()
    let path = try setup.scratch.write("remote.json", try setup.config.encoded())
    let inspection = Inspector.inspect(path)
    #expect(inspection.findings.isEmpty)
    #expect(inspection.description.contains(setup.digests[0]))
    let image = try Image.open(configPath: path, remote: setup.settings)
    let warmth = try #require(image.remote).warm(image) { _ in }
    #expect(warmth.errors.isEmpty)
    #expect(warmth.bytes == setup.config.lowers.reduce(0) { $0 + $1.size! })
    #expect(setup.registry.stop())
    #expect(try contents(of: image) == setup.raw)
  }
}
