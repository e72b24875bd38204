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
  private static let roundTrip = 0.021
  private static let bytesPerSecond = 8e6

  private func expect(_ cost: StartForecast.Cost, _ what: String, _ body: () throws -> Void) rethrows {
    let began = monotonicNanoseconds()
    try body()
    let took = Double(monotonicNanoseconds() - began) / 1e9
    print("\(what): \(cost.seconds) s foretold, \(took) s measured")
    #expect(abs(cost.seconds / took - 1) < 0.15, "\(what): \(cost), took \(took) s")
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
    setup.registry.setLink(
      TestLink(roundTrip: Int(Self.roundTrip * 1000), bytesPerSecond: Self.bytesPerSecond))

    var buffer = [UInt8](repeating: 0, count: 32_768)
    var reader = ImageReader(image)
    try expect(forecast.cold, "cold, \(forecast.cold.requests) requests") {
      for read in reads { try buffer.withUnsafeMutableBytes { try reader.read(into: $0, at: read.range.lowerBound) } }
    }
    setup.registry.setLink(nil)
    let other = try Image.open(config: setup.config, remote: settings)
    let plan = WarmPlan([trace], for: other)
    setup.registry.setLink(
      TestLink(roundTrip: Int(Self.roundTrip * 1000), bytesPerSecond: Self.bytesPerSecond))
    let store = try #require(other.remote?.store)
    try expect(forecast.warming, "warming, \(forecast.warming.requests) requests") {
      let ends = try plan.requests.map { request in
        let end = OneShot<BlobError?>()
        let blob = try #require(other.layers[request.layer].blob.remote?.blob)
        store.prefetch(blob, request.range, deadline: Deadline(milliseconds: 30_000)) { error, _ in end.set(error) }
        return end
      }
      for end in ends { #expect(try #require(end.wait(Deadline(milliseconds: 30_000))) == nil) }
    }
  }
}
