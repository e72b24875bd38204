import Glibc
import Posix
import Testing

@testable import Device

@Suite("Latencies")
struct LatencyTests {
  @Test("each time is in a bucket whose end is at most 12.5 % above it")
  func buckets() {
    var random = SeededRandom(1)
    for _ in 0..<100_000 {
      let time = UInt64.random(in: 0..<1 << UInt64.random(in: 1...40, using: &random), using: &random)
      let end = LatencyHistogram.end(ofBucket: LatencyHistogram.bucket(time))
      #expect(end > time && (end - time) * 8 <= max(time, 1024) + 8, "\(time) ns is said to be up to \(end)")
    }
    #expect(LatencyHistogram.bucket(.max) == LatencyHistogram.bucketCount - 1)
    for bucket in 1..<LatencyHistogram.bucketCount {
      #expect(LatencyHistogram.bucket(LatencyHistogram.end(ofBucket: bucket - 1)) == bucket)
    }
  }

  @Test("quantiles are those of the times themselves, to the bucket")
  func quantiles() {
    var random = SeededRandom(2)
    var histogram = LatencyHistogram()
    #expect(histogram.quantile(0.5) == nil)
    let times = (0..<5000).map { _ in
      UInt64.random(in: 0..<1 << UInt64.random(in: 8...30, using: &random), using: &random)
    }
    for time in times { histogram.add(time) }
    let sorted = times.sorted()
    for share in [0.001, 0.5, 0.99, 0.999, 1] {
      let exact = sorted[max(1, Int((share * 5000).rounded(.up))) - 1]
      #expect(histogram.quantile(share) == LatencyHistogram.end(ofBucket: LatencyHistogram.bucket(exact)))
    }
    var later = histogram
    later.add(7)
    #expect(later.since(histogram).total == 1 && later.since(histogram).quantile(1) == 128)
  }

  @Test("a queue times what it serves itself, and knows what waited for the network")
  func classes() throws {
    var waited: UInt64 = 0
    for seed in TestRun.seeds(30) {
      let local = try TestRun(seed)
      #expect(local.latencies[.remote]?.total == 0)
      #expect(local.latencies[.local].map { $0.total > 0 && $0.total <= 60 } == true, "seed \(seed)")
      let remote = try TestRun(seed, areRemote: true)
      let count = try #require(remote.latencies[.remote]).total
      #expect((count == 0) == (remote.transport.wants == 0) && count <= remote.transport.wants, "seed \(seed)")
      waited += count
    }
    #expect(waited > 100)
  }

  @Test("the page says what is recorded, a page of the first version has counters only, others are none")
  func page() throws {
    let path = "/dev/shm/warmblk-page.\(getpid())"
    defer { unlink(path) }
    let page = try CounterPage(path: path, queues: 3)
    page.counters(2).pointee.requests = 5
    page.latencies(0).add(.local, 1000)
    page.latencies(2).add(.local, 5000)
    page.latencies(1).add(.remote, 1 << 30)
    let counts = RecordingCounts(since: 1_700_000_000, accesses: 1, bytes: 2, lost: 3)
    page.setRecording(counts)
    var reading = try CounterPage.read(path)
    #expect(reading.recording == counts && reading.counters.total.requests == 5)
    #expect(reading.latencies[.local]?.total == 2 && reading.latencies[.remote]?.total == 1)
    page.setRecording(nil)
    #expect(try CounterPage.read(path).recording == nil)

    let bytes = try readFile(path)
    var old = Array(bytes[..<256])
    old[7] = 1
    try writeFileAtomically(path, old)
    reading = try CounterPage.read(path)
    #expect(reading.latencies.isEmpty && reading.counters.total.requests == 5)
    for (position, value) in [(7, 3), (8, 200), (12, 63), (17, 15), (20, 1)] as [(Int, UInt8)] {
      var bad = bytes
      bad[position] = value
      try writeFileAtomically(path, bad)
      #expect(throws: Errno(rawValue: EBADMSG)) { () throws in _ = try CounterPage.read(path) }
    }
  }
}
