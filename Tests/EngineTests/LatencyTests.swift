import Glibc
import Posix
import Testing
import UpperLayer

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
      #expect([.remote, .write, .flush].allSatisfy { local.latencies[$0]?.total == 0 })
      #expect(local.latencies[.local].map { $0.total > 0 && $0.total <= 60 } == true, "seed \(seed)")
      let remote = try TestRun(seed, areRemote: true)
      let count = try #require(remote.latencies[.remote]).total
      #expect((count == 0) == (remote.transport.wants == 0) && count <= remote.transport.wants, "seed \(seed)")
      waited += count
    }
    #expect(waited > 100)
  }

  @Test(
    "each write and each flush is timed once, also one that fails or waits for a pause; what makes zeroes is not",
    arguments: [UpperFiles.Kind.append, .sparse])
  func changes(_ kind: UpperFiles.Kind) throws {
    let faults = FakeTransport.Faults(
      error: 40, interruption: 9, writeError: 9, fullDisk: 30, flushError: 5, zeroError: 9)
    for seed in TestRun.seeds(12) {
      let snapshots = kind == .append && seed % 2 == 0 ? 3 : 0
      let run = try WriteRun(seed, .init(queues: 2, faults: faults, kind: kind, snapshots: snapshots))
      let asked = run.transports.flatMap(\.tickets).map(\.request.operationNumber)
      for (kind, number) in [(LatencyHistogram.Class.write, 1), (.flush, 2)] as [(LatencyHistogram.Class, UInt8)] {
        let count = asked.count { $0 == number }
        #expect(count > 0 && run.latencies[kind]?.total == UInt64(count), "seed \(seed), \(kind)")
      }
      let reads = asked.count { $0 == 0 }
      #expect(run.latencies[.local]?.total ?? .max <= UInt64(reads) && run.latencies[.remote]?.total == 0)
    }
  }

  @Test("the time of a flush is a write's that goes through the cache, and no other's")
  func slowFlushes() throws {
    var flushes: UInt64 = 0
    for seed in TestRun.seeds(4) {
      let run = try WriteRun(seed, .init(requests: 60, operations: [1, 1, 2], flushMilliseconds: 4))
      let writes = run.transports[0].tickets.map(\.request).filter { $0.operationNumber == 1 }
      let through = writes.count { $0.flags.contains(.throughCache) }
      let slow = LatencyHistogram.bucket(4_000_000)
      let flush = try #require(run.latencies[.flush])
      #expect(flush.counts[..<slow].allSatisfy { $0 == 0 }, "seed \(seed)")
      flushes += flush.total
      let write = try #require(run.latencies[.write])
      let late = write.counts[slow...].reduce(0, +)
      // A machine at work may make some more late.
      #expect(late >= through && late < through + (writes.count - through) / 2, "seed \(seed): \(late), \(through)")
    }
    #expect(flushes > 20)
  }

  @Test("what was held while a snapshot was made has waited since it came")
  func pauses() throws {
    for seed in TestRun.seeds(3) {
      let run = try WriteRun(
        seed, .init(requests: 500, operations: [1], snapshots: 2, pauseMilliseconds: 60))
      #expect(run.snapshotsUnderLoad > 0)
      #expect(try #require(run.latencies[.write]?.quantile(1)) >= 50_000_000, "seed \(seed)")
    }
  }

  @Test("the page says what is recorded, pages of earlier versions have what those had, others are none")
  func page() throws {
    let path = "/dev/shm/warmblk-page.\(getpid())"
    defer { unlink(path) }
    let page = try CounterPage(path: path, queues: 3)
    page.counters(2).pointee.requests = 5
    page.latencies(0).add(.local, 1000)
    page.latencies(2).add(.local, 5000)
    page.latencies(1).add(.remote, 1 << 30)
    page.latencies(0).add(.write, 9000)
    for time in [1, 2, 3] as [UInt64] { page.latencies(2).add(.flush, time << 20) }
    let counts = RecordingCounts(since: 1_700_000_000, accesses: 1, bytes: 2, lost: 3)
    page.setRecording(counts)
    var reading = try CounterPage.read(path)
    #expect(reading.recording == counts && reading.counters.total.requests == 5)
    #expect(LatencyHistogram.Class.allCases.map { reading.latencies[$0]?.total } == [2, 1, 1, 3])
    page.setRecording(nil)
    #expect(try CounterPage.read(path).recording == nil)

    let bytes = try readFile(path)
    var old = Array(bytes[..<256])
    old[7] = 1
    try writeFileAtomically(path, old)
    reading = try CounterPage.read(path)
    #expect(reading.latencies.isEmpty && reading.counters.total.requests == 5)
    try writeFileAtomically(path, Self.version2(of: bytes, queues: 3))
    reading = try CounterPage.read(path)
    #expect(LatencyHistogram.Class.allCases.map { reading.latencies[$0]?.total } == [2, 1, nil, nil])
    #expect(reading.latencies[.local]?.quantile(1) == LatencyHistogram.end(ofBucket: LatencyHistogram.bucket(5000)))
    let bads: [(Int, UInt8)] = [(7, 4), (7, 2), (8, 200), (12, 63), (17, 15), (20, 1)]
    for (position, value) in bads {
      var bad = bytes
      bad[position] = value
      try writeFileAtomically(path, bad)
      #expect(throws: Errno(rawValue: EBADMSG)) { () throws in _ = try CounterPage.read(path) }
    }
  }

  /// The page `bytes` as version 2 would have it.
  private static func version2(of bytes: [UInt8], queues: Int) -> [UInt8] {
    var old = Array(bytes[..<4096])
    old[7] = 2
    old[21] = 0x10
    for queue in 0..<queues { old += bytes[4096 + queue * 8192..<4096 + queue * 8192 + 4096] }
    return old
  }

  @Test(
    "a server goes on with the page of an earlier version: what that counted stays, and all is counted from then on")
  func continuing() throws {
    let path = "/dev/shm/warmblk-old-page.\(getpid())"
    defer { unlink(path) }
    let first = try CounterPage(path: path, queues: 2)
    first.counters(1).pointee.requests = 5
    first.latencies(0).add(.local, 1000)
    first.latencies(1).add(.local, 5000)
    first.latencies(1).add(.remote, 1 << 30)
    let bytes = try readFile(path)
    for (version, times) in [(1, [0, 0, 0, 1]), (2, [2, 1, 0, 1]), (3, [2, 1, 0, 1])] as [(Int, [UInt64])] {
      var old = version == 3 ? bytes : Self.version2(of: bytes, queues: 2)
      if version == 1 { (old, old[7]) = (Array(old[..<192]), 1) }
      try writeFileAtomically(path, old)
      let next = try CounterPage(continuing: path, queues: 2)
      next.latencies(1).add(.flush, 1000)
      let reading = try CounterPage.read(path)
      #expect(reading.counters.map(\.requests) == [0, 5], "version \(version)")
      #expect(LatencyHistogram.Class.allCases.map { reading.latencies[$0]?.total } == times, "version \(version)")
      #expect(try CounterPage(continuing: path, queues: 1).snapshot.map(\.requests) == [0], "version \(version)")
    }
  }
}
