import Glibc
import Posix
import Synchronization
import TestRegistry
import Testing
import TestSupport

@testable import Registry

/// Fetches against a registry and a mirror that fail at random: what arrives is right, and everything ends.
@Suite struct ChaosTests {
  private static func fault(_ random: inout SplitMix, _ bytes: [UInt8], _ target: String) -> TestRegistry.Fault {
    let count = Int.random(in: -1...20_000, using: &random)
    switch Int.random(in: 0..<16, using: &random) {
    case 0: return .reset(after: count)
    case 1: return .cut(after: max(0, count))
    case 2: return .shortBody(max(0, count))
    case 3: return .part(max(1, count))
    case 4: return .status([500, 502, 503, 504, 408].randomElement(using: &random)!)
    case 5: return .contentRange("bytes 0-9/10")
    case 6: return .encoded("gzip")
    case 7: return .ignoresRange(bytes)
    case 8: return .redirect(target)
    case 9: return .delay(Int.random(in: 0...20, using: &random))
    default: return .none
    }
  }

  @Test("right bytes or none, for hundreds of fetches, some of them cancelled")
  func chaos() throws {
    var random = SplitMix.announced("chaos")
    let served = try Served(200_000)
    let mirror = try TestRegistry(host: "127.0.0.2")
    defer { served.registry.stop(); mirror.stop() }
    mirror.add(served.blob.digest, served.bytes)
    var host = RegistrySettings.Host()
    host.mirrors = [mirror.server.url]
    let settings = RegistrySettings.fast { settings in
      settings.hosts["127.0.0.1"] = host
      settings.limits.retriesPerSecond = 1000
      settings.limits.retryDelayMax = 10
      settings.limits.breakerDelay = 5
      settings.limits.breakerDelayMax = 20
      settings.connectionsPerHost = 4
    }
    let harness = try Harness(settings)
    let target = "\(mirror.server.url)/v2/elsewhere/blobs/\(served.blob.digest)"
    for _ in 0..<40 {
      for registry in [served.registry, mirror] {
        for _ in 0..<10 { registry.fail(Self.fault(&random, served.bytes, target)) }
      }
      let pending = (0..<10).map { _ in
        let start = UInt64.random(in: 0..<199_000, using: &random)
        let end = UInt64.random(in: start + 1...200_000, using: &random)
        let range: FetchRange =
          Int.random(in: 0..<8, using: &random) == 0 ? .suffix(Int(end - start)) : .bytes(start..<end)
        return harness.start(served.blob, range, within: nil)
      }
      let cancelled = pending[Int.random(in: 0..<10, using: &random)]
      usleep(UInt32.random(in: 0..<2000, using: &random))
      harness.onLoop { client in cancelled.handle.map { client.cancel($0) } }
      for fetch in pending {
        let outcome = fetch.wait()
        #expect(served.isRight(outcome) || (fetch === cancelled && outcome.error == .cancelled), "\(outcome.result)")
        #expect(fetch.completions == 1 && outcome.progress == outcome.progress.sorted())
      }
    }
    #expect(harness.onLoop { $0.count } == 0)
  }
}
