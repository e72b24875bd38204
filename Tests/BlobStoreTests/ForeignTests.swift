import CLinux
import Glibc
import Posix
import Synchronization
import Testing
import TestSupport

@testable import BlobStore

/// Several stores over one folder. Each opening has its own locks, so they are to each other what processes are.
@Suite struct ForeignTests {
  @Test("many stores that read the same blob fetch each byte once")
  func singleFlight() throws {
    var random = SplitMix.announced("foreign singleFlight")
    let blob = TestBlob(count: 2_500_001, &random)
    let scratch = try Scratch()
    let stations = try (0..<4).map { _ in
      try Station(scratch("cache"), [blob]) { FakeOrigin.Answer(delay: 1 + $0.number % 4, step: 40_000, pause: 1) }
    }
    let seed = random.next()
    onThreads(8) { number in
      var random = SplitMix(state: seed &+ UInt64(number))
      let station = stations[number % stations.count]
      let remote = try station.open(blob)
      for _ in 0..<40 {
        let start = Int.random(in: 0..<blob.bytes.count, using: &random)
        let end = min(blob.bytes.count, start + Int.random(in: 1...200_000, using: &random))
        try station.read(remote, start..<end, of: blob)
      }
      try station.read(remote, 0..<blob.bytes.count, of: blob)
    }
    #expect(stations.reduce(0) { $0 + $1.origin.log.bytes } == blob.size)
    for station in stations {
      let counts = station.store.counters.snapshot
      #expect(counts.repairs == 0 && counts.failures == 0 && counts.bypasses == 0)
    }
  }

  @Test("what a store was fetching when it went away is fetched by who waits for it")
  func dies() throws {
    var random = SplitMix.announced("dies")
    let blob = TestBlob(count: 20 << 16, &random)
    let scratch = try Scratch()
    let reader = try Station(scratch("cache"), [blob])
    let remote = try reader.open(blob)
    var other: Station? = try Station(scratch("cache"), [blob]) { _ in FakeOrigin.Answer(isSilent: true) }
    let claimed = other!.want(try other!.open(blob), 0..<20 << 16, .prefetch)
    other!.loop.run {}
    let wait = reader.want(remote, 0..<20 << 16, .demand)
    #expect(wait.end(within: 300) == nil)
    other = nil
    #expect(!claimed.succeeds())
    #expect(wait.succeeds(within: 1000))
    #expect(reader.origin.log.requests.count == 1, "the chunks of one flight become one flight again")
    #expect(reader.store.counters.snapshot.bypasses == 0)
    try reader.read(remote, 0..<20 << 16, of: blob)
  }

  @Test("a process that is killed holds no claims", .timeLimit(.minutes(1)))
  func killed() throws {
    var random = SplitMix.announced("killed")
    let blob = TestBlob(count: 5 << 16, &random)
    let scratch = try Scratch()
    let reader = try Station(scratch("cache"), [blob])
    let remote = try reader.open(blob)
    let holder = try Holder(NodeCache(path: scratch("cache"), limit: 1 << 30).mapPath(blob.hex), chunks: 0..<5 * 64)
    let wait = reader.want(remote, 0..<5 << 16, .demand)
    #expect(wait.end(within: 300) == nil)
    holder.kill()
    #expect(wait.succeeds(within: 1500))
    #expect(reader.store.counters.snapshot.bypasses == 0)
    try reader.read(remote, 0..<5 << 16, of: blob)
  }

  @Test("chunks of a process that is stopped come past the cache, and the next ones at once", .timeLimit(.minutes(1)))
  func stopped() throws {
    var random = SplitMix.announced("stopped")
    let blob = TestBlob(count: 40 << 16, &random)
    let scratch = try Scratch()
    let reader = try Station(scratch("cache"), [blob])
    let remote = try reader.open(blob)
    let holder = try Holder(NodeCache(path: scratch("cache"), limit: 1 << 30).mapPath(blob.hex), chunks: 0..<40 * 64)
    holder.stop()
    let first = reader.want(remote, 0..<100_000, .demand)
    let took = try #require(first.took())
    #expect(first.succeeds() && (1900..<4000).contains(took))
    #expect(reader.store.counters.snapshot.bypasses == 98)
    try reader.read(remote, 0..<100_000, of: blob)
    let began = monotonicNanoseconds()
    for span in 1..<40 { try reader.read(remote, span << 16..<(span + 1) << 16, of: blob) }
    #expect(monotonicNanoseconds() - began < 4_000_000_000)
    #expect(reader.origin.deliveries(blob).allSatisfy { $0 == 1 })
    holder.kill()
  }

  @Test("a store that is slow but gets on is waited for")
  func slow() throws {
    var random = SplitMix.announced("slow")
    let blob = TestBlob(count: 8 << 16, &random)
    let scratch = try Scratch()
    let slow = try Station(scratch("cache"), [blob]) { _ in FakeOrigin.Answer(step: 1 << 16, pause: 500) }
    let reader = try Station(scratch("cache"), [blob])
    let slowRemote = try slow.open(blob)
    // Now it knows the blob's size, and shows what comes when it comes.
    try slow.read(slowRemote, 0..<1, of: blob)
    let fetched = slow.want(slowRemote, 2 << 16..<8 << 16, .prefetch)
    slow.loop.run {}
    let remote = try reader.open(blob)
    try reader.read(remote, 7 << 16..<8 << 16, of: blob)
    #expect(fetched.succeeds() && reader.origin.log.requests.isEmpty)
  }

  @Test("claims end with what they are for: whatever happens, another store gets every chunk")
  func noClaimStays() throws {
    var random = SplitMix.announced("noClaimStays")
    let blob = TestBlob(count: 30 << 16, &random)
    for round in 0..<8 {
      let scratch = try Scratch()
      let seed = random.next()
      let station = try Station(scratch("cache"), [blob]) { request in
        var random = SplitMix(state: seed &+ UInt64(request.number))
        return .random(&random, size: request.range.count)
      }
      let remote = try station.open(blob)
      let waits = (0..<20).map { _ in
        let start = Int.random(in: 0..<blob.bytes.count, using: &random)
        let end = min(blob.bytes.count, start + Int.random(in: 1...500_000, using: &random))
        return station.want(remote, start..<end, FetchClass.allCases.randomElement(using: &random)!, milliseconds: 300)
      }
      for wait in waits { #expect(wait.end(within: 1500) != nil, "round \(round)") }
      // Fetches for nobody end, too.
      let isQuiet = Deadline(milliseconds: 5000).wait { station.loop.run { station.store.flights.isEmpty } }
      #expect(isQuiet, "round \(round)")
      let lock = try Descriptor.open(station.store.cache!.mapPath(blob.hex), O_RDWR)
      #expect(clinux_lock_range(lock.rawValue, Int16(F_WRLCK), 0, 0) == 0, "round \(round): a claim stays")
    }
  }
}
