import BlobStore
import Posix
import TestRegistry
import TestSupport
import Testing
import Trace

@testable import Image

/// Seconds that were foretold, beside what the store takes over a link whose rate and round trip are known. The link is so
/// slow that neither of the two ends is what is waited for.
@Suite("Seconds of a start that were foretold", .serialized)
struct ForecastTimeTests {
  private static let roundTrip = 0.04
  private static let bytesPerSecond = 8e6

  /// Compares with the least of some measurements: who else uses the machine only adds to it.
  private func expect(
    _ cost: StartForecast.Cost, _ what: String, _ setup: RegistryImage, _ body: (Image, BlobStore) throws -> Void
  ) throws {
    var settings = setup.settings
    settings.cacheFolder = nil
    var least = Double.infinity
    for _ in 0..<4 where !(cost.seconds / least > 0.85) {
      setup.registry.setLink(nil)
      let image = try Image.open(config: setup.config, remote: settings)
      setup.registry.setLink(TestLink(roundTrip: Int(Self.roundTrip * 1000), bytesPerSecond: Self.bytesPerSecond))
      let began = monotonicNanoseconds()
      try body(image, try #require(image.remote?.store))
      least = min(least, Double(monotonicNanoseconds() - began) / 1e9)
    }
    print("\(what), \(cost.requests) requests: \(cost.seconds) s foretold, \(least) s measured")
    #expect(abs(cost.seconds / least - 1) < 0.15, "\(what): \(cost), took \(least) s")
  }

  @Test("are those of the link within 15 %: read cold, and brought before")
  func seconds() throws {
    let setup = try RegistryImage(megabytes: 32, writes: 30_000)
    var settings = setup.settings
    settings.cacheFolder = nil
    var random = SplitMix.announced("reads whose time is foretold")
    let reads = (0..<250).map { number in
      let start = UInt64.random(in: 0..<(32 << 20) - 65_536, using: &random) / 4096 * 4096
      return DeviceRead(microseconds: UInt64(number + 1) * 1000, range: start..<start + 32_768)
    }
    let image = try Image.open(config: setup.config, remote: settings)
    let trace = try image.trace(of: reads).trace
    let forecast = StartForecast(
      [trace], of: image, roundTrip: Self.roundTrip, bytesPerSecond: Self.bytesPerSecond)
    // One reader, who waits for each read. What decoding takes is not foretold, so nothing is decoded.
    let turns = Dictionary(grouping: trace.accesses, by: \.microseconds).sorted { $0.key < $1.key }.map(\.value)
    try expect(forecast.cold, "cold", setup) { image, store in
      for turn in turns {
        let ends = try turn.map { access in
          let end = OneShot<BlobError?>()
          let layer = try #require(access.layer)
          let blob = try #require(image.layers[layer].blob.remote?.blob)
          store.want(blob, access.stored, .demand, deadline: Deadline(milliseconds: 30_000)) { end.set($0) }
          return end
        }
        for end in ends { #expect(try #require(end.wait(Deadline(milliseconds: 30_000))) == nil) }
      }
    }
    try expect(forecast.warming, "warming", setup) { image, store in
      let ends = try WarmPlan([trace], for: image).requests.map { request in
        let end = OneShot<BlobError?>()
        let blob = try #require(image.layers[request.layer].blob.remote?.blob)
        store.prefetch(blob, request.range, deadline: Deadline(milliseconds: 30_000)) { error, _ in end.set(error) }
        return end
      }
      for end in ends { #expect(try #require(end.wait(Deadline(milliseconds: 30_000))) == nil) }
    }
  }
}
