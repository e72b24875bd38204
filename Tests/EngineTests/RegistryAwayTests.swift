import Posix
import Synchronization
import TestRegistry
import TestSupport
import Testing
import Trace

@testable import BlobStore
@testable import Device
@testable import Image

/// A prefetch whose registry went away after the layers had been opened.
@Suite("A prefetch without its registry", .serialized)
struct RegistryAwayTests {
  /// An image of one layer of 24 MiB of noise in a registry, and what is asked of that.
  private final class Setup {
    let scratch: Scratch
    let registry: TestRegistry
    let image: Image
    let attempts = Counter()
    var store: BlobStore { image.remote!.store }
    var blob: RemoteBlob { image.layers[0].blob.remote!.blob }

    final class Counter: Sendable { let count = Atomic<Int>(0) }

    init() throws {
      scratch = try Scratch(inMemory: true)
      registry = try TestRegistry()
      var random = SplitMix.announced("a registry that goes away")
      var raw = [UInt8](repeating: 0, count: 24 << 20)
      raw.withUnsafeMutableBytes { bytes in
        for offset in stride(from: 0, to: bytes.count, by: 8) {
          bytes.storeBytes(of: random.next(), toByteOffset: offset, as: UInt64.self)
        }
      }
      let options = ImportOptions(source: try scratch.write("raw", raw), directory: scratch("image"))
      var config = try ImageConfig.load(try Importer.run(options).configPath)
      registry.add(config.lowers[0].digest!, try readFile(config.lowers[0].file!, limit: 1 << 28))
      config.lowers[0] = .init(digest: config.lowers[0].digest, size: config.lowers[0].size)
      config.repoBlobURL = registry.repoBlobURL()
      var settings = RemoteSettings()
      settings.registry.credentials = []
      settings.registry.proxy = ""
      settings.cacheFolder = scratch("cache")
      image = try Image.open(config: config, remote: settings)
      image.remote!.listen { [attempts] trouble in
        if case .attempt = trouble { attempts.count.add(1, ordering: .relaxed) }
      }
    }

    deinit { _ = registry.stop() }

    /// Of 16 KiB in each 24.
    var plan: WarmPlan {
      var trace = image.emptyTrace()
      trace.accesses = (0..<800).map {
        let start = UInt64($0) * (24 << 10)
        return TraceAccess(microseconds: UInt64($0), device: 0..<0, layer: 0, stored: start..<start + 16 << 10)
      }
      return WarmPlan([trace], for: image)
    }

    var grades: Grades {
      let answer = OneShot<Grades>()
      store.grades(of: [blob]) { answer.set($0) }
      return answer.wait(Deadline(milliseconds: 5000)) ?? Grades()
    }
  }

  /// Attempts that a registry may see: those that were under way when it was found to be away, and the probes after each
  /// of its rests.
  private func attemptsMax(_ seconds: Double) -> Int { 56 + Int(seconds / 0.25) }

  @Test("asks no more than the rests of a host let through, alone and beside reads", arguments: [0, 8])
  func bounded(readers: Int) throws {
    let setup = try Setup()
    let plan = setup.plan
    #expect(plan.requests.count == 800)
    setup.registry.stop()
    let began = monotonicNanoseconds()
    let fetches = setup.store.counters.snapshot.fetches
    let prefetcher = try Prefetcher(plan, for: setup.image, threads: 2, options: PrefetchOptions(patience: 4000))
    try prefetcher.start()
    let (store, blob) = (setup.store, setup.blob)
    let failures = Mutex(0)
    let threads = try (0..<readers).map { number in
      try Posix.Thread(name: "reader") {
        for turn in 0..<2 {
          let end = OneShot<BlobError?>()
          let start = UInt64(20 << 20 + (number * 2 + turn) * (200 << 10))
          store.want(blob, start..<start + 4096, .demand, deadline: Deadline(milliseconds: 2000)) { end.set($0) }
          if let error = end.wait(Deadline(milliseconds: 5000)), error != nil { failures.withLock { $0 += 1 } }
        }
      }
    }
    #expect(Deadline(milliseconds: 30_000).wait(interval: 20) { prefetcher.progress.hasEnded })
    for thread in threads { #expect(thread.join(Deadline(milliseconds: 20_000))) }
    prefetcher.stop()
    let seconds = Double(monotonicNanoseconds() - began) / 1e9
    let asked = Int(setup.store.counters.snapshot.fetches - fetches)
    let attempts = setup.attempts.count.load(ordering: .relaxed)
    print("\(readers) readers: \(attempts) attempts, \(asked) fetches in \(seconds) s")
    #expect(attempts > 0 && attempts <= attemptsMax(seconds), "\(attempts) attempts in \(seconds) s")
    // Each prefetch that was under way, one a second after that, and each read once a second.
    #expect(asked <= PrefetchPace.flightsMax + (readers + 1) * (Int(seconds) + 1), "\(asked) fetches in \(seconds) s")
    #expect(failures.withLock { $0 } == readers * 2)
    guard case .registry(let trouble)? = prefetcher.progress.lastError else {
      Issue.record("\(prefetcher.progress)")
      return
    }
    #expect("\(trouble)".contains("127.0.0.1"))
    // All of it has failed, in bytes as in chunks, also what was never asked for.
    let grades = setup.grades
    let missing = plan.requests.reduce(0) { $0 + blob.missingBytes($1.range) }
    #expect(grades.failedBytes == missing && grades.failed == missing >> 10, "\(grades), \(missing) are missing")
    #expect(missing > 12 << 20)
  }
}
