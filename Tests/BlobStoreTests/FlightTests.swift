import Posix
import Synchronization
import Testing
import TestSupport

@testable import BlobStore

/// What is fetched, how often and in which order: within one process.
@Suite struct FlightTests {
  @Test("many readers of overlapping ranges fetch each byte once")
  func singleFlight() throws {
    var random = SplitMix.announced("singleFlight")
    let blob = TestBlob(count: 3_333_333, &random)
    let scratch = try Scratch()
    let station = try Station(scratch("cache"), [blob]) { request in
      FakeOrigin.Answer(delay: 1 + request.number % 5, step: 50_000, pause: 1)
    }
    let remote = try station.open(blob)
    let seed = random.next()
    onThreads(8) { number in
      var random = SplitMix(state: seed &+ UInt64(number))
      for _ in 0..<60 {
        let start = Int.random(in: 0..<blob.bytes.count, using: &random)
        let end = min(blob.bytes.count, start + Int.random(in: 1...300_000, using: &random))
        try station.read(remote, start..<end, of: blob)
      }
    }
    #expect(station.origin.deliveries(blob).allSatisfy { $0 <= 1 })
    #expect(station.store.counters.snapshot.fetchedBytes <= blob.size)
    #expect(station.store.counters.snapshot.repairs == 0 && station.store.counters.snapshot.failures == 0)
  }

  @Test("demand overtakes prefetch that waits")
  func overtakes() throws {
    var random = SplitMix.announced("overtakes")
    let blob = TestBlob(count: 40 << 16, &random)
    let station = try Station(nil, [blob]) { _ in FakeOrigin.Answer(delay: 100) }
    let remote = try station.open(blob)
    let prefetch = (0..<30).map { station.want(remote, $0 << 16..<($0 + 1) << 16, .prefetch) }
    let demand = station.want(remote, 39 << 16..<40 << 16, .demand)
    let demandEnd = try #require(demand.end())
    #expect(demandEnd.error == nil)
    let before = prefetch.filter { $0.end()!.time < demandEnd.time }.count
    #expect(before <= FetchClass.prefetch.flightsMax)
    #expect(station.origin.log.requests.prefix(9).contains { $0.range.lowerBound == 39 << 16 })
    #expect(station.origin.log.runningMax <= FetchClass.prefetch.flightsMax + 1)
  }

  @Test("demand that joins waiting prefetch takes it along")
  func raises() throws {
    var random = SplitMix.announced("raises")
    let blob = TestBlob(count: 40 << 16, &random)
    let station = try Station(nil, [blob]) { _ in FakeOrigin.Answer(delay: 50) }
    let remote = try station.open(blob)
    let prefetch = (0..<40).map { station.want(remote, $0 << 16..<($0 + 1) << 16, .prefetch) }
    let demand = station.want(remote, 35 << 16 + 5..<35 << 16 + 6, .demand)
    _ = try #require(demand.end())
    #expect(station.origin.log.requests.prefix(9).contains { $0.range.lowerBound == 35 << 16 })
    for wait in prefetch { #expect(wait.succeeds()) }
    #expect(station.origin.deliveries(blob).allSatisfy { $0 == 1 })
    #expect(station.store.counters.snapshot.joins == 1)
  }

  @Test("raising running flights makes room for those that wait")
  func raisingMakesRoom() throws {
    var random = SplitMix.announced("raisingMakesRoom")
    let blob = TestBlob(count: 40 << 16, &random)
    let station = try Station(nil, [blob]) { request in
      FakeOrigin.Answer(isSilent: request.range.lowerBound < 8 << 16)
    }
    let remote = try station.open(blob)
    for chunk in 0..<8 { _ = station.want(remote, chunk << 16..<(chunk + 1) << 16, .prefetch, milliseconds: nil) }
    let ninth = station.want(remote, 9 << 16..<10 << 16, .prefetch)
    #expect(ninth.end(within: 100) == nil)
    _ = station.want(remote, 0..<1, .demand, milliseconds: nil)
    #expect(ninth.succeeds(within: 2000))
  }

  @Test("the background waits for silence, and gets its turn then")
  func background() throws {
    var random = SplitMix.announced("background")
    let blob = TestBlob(count: 20 << 16, &random)
    let station = try Station(nil, [blob]) { _ in FakeOrigin.Answer(delay: 60) }
    let remote = try station.open(blob)
    let prefetch = station.want(remote, 0..<1 << 16, .prefetch)
    let background = (10..<14).map { station.want(remote, $0 << 16..<($0 + 1) << 16, .background) }
    let demand = station.want(remote, 5 << 16..<6 << 16, .demand)
    let first = try #require(prefetch.end())
    let second = try #require(demand.end())
    for wait in background {
      let end = try #require(wait.end())
      #expect(end.error == nil && end.time > first.time && end.time > second.time)
    }
  }

  @Test("a reader in order does not wait for a round trip between two fetches, and a scattered one gets little")
  func ahead() throws {
    var random = SplitMix.announced("ahead")
    let blob = TestBlob(count: 300 << 16, &random)
    for isInOrder in [true, false] {
      // A link that is slower than the reader: a round trip, then a chunk every five milliseconds.
      let station = try Station(nil, [blob]) { _ in FakeOrigin.Answer(delay: 20, step: 1 << 16, pause: 5) }
      let remote = try station.open(blob)
      for number in 0..<(isInOrder ? 100 : 40) {
        let chunk = isInOrder ? number : number * 7 % 299
        #expect(station.want(remote, chunk << 16..<(chunk + 1) << 16, .demand).succeeds())
      }
      #expect(station.origin.deliveries(blob).allSatisfy { $0 <= 1 })
      let log = station.origin.log
      if isInOrder {
        #expect(log.runningMax == 2)
      } else {
        #expect(log.requests.allSatisfy { $0.range.count <= Readahead.windowMin << 16 })
      }
    }
  }

  @Test("a long want is fetched in pieces, and the blob's end is one of them")
  func longWant() throws {
    var random = SplitMix.announced("longWant")
    let blob = TestBlob(count: 9_000_001, &random)
    let station = try Station(nil, [blob])
    let remote = try station.open(blob)
    #expect(station.want(remote, 0..<blob.bytes.count, .prefetch).succeeds())
    #expect(station.origin.log.requests.allSatisfy { $0.range.count <= Readahead.windowMax << 16 })
    #expect(station.origin.log.bytes == blob.size)
    try station.read(remote, 0..<blob.bytes.count, of: blob)
  }

  @Test("ranges that a blob does not have are refused, whatever their numbers are")
  func bounds() throws {
    var random = SplitMix.announced("bounds")
    let blob = TestBlob(count: 100_000, &random)
    let station = try Station(nil, [blob])
    let remote = try station.open(blob)
    for range in [0..<0, 100_000..<100_000, 0..<100_001, 99_999..<UInt64.max, 0..<UInt64.max, UInt64.max..<UInt64.max] {
      for isRepair in [false, true] {
        let answer = OneShot<BlobError?>()
        let deadline = Deadline(milliseconds: 1000)
        if isRepair {
          let lease = BlobView.Lease(place: .cache, drops: 0, stamp: 0)
          station.store.repair(remote, range, lease, deadline: deadline) { answer.set($0) }
        } else {
          station.store.want(remote, range, .demand, deadline: deadline) { answer.set($0) }
        }
        guard case .outOfBounds? = try #require(answer.wait(Deadline(milliseconds: 5000))) else {
          Issue.record("\(range) was not refused")
          continue
        }
      }
    }
    for offset in [99_999, 100_000, UInt64.max, UInt64.max - 1] {
      var two: (UInt8, UInt8) = (0, 0)
      #expect(throws: BlobError.self) {
        try withUnsafeMutableBytes(of: &two) { buffer in
          try station.store.read(remote, into: buffer, at: offset, .demand, deadline: Deadline(milliseconds: 1000))
        }
      }
    }
    #expect(station.origin.log.requests.isEmpty)
  }

  @Test("chunks that are here in the middle of a want are not fetched again")
  func gaps() throws {
    var random = SplitMix.announced("gaps")
    let blob = TestBlob(count: 30 << 16, &random)
    let scratch = try Scratch()
    let station = try Station(scratch("cache"), [blob])
    let remote = try station.open(blob)
    for chunk in [3, 4, 9, 20] { #expect(station.want(remote, chunk << 16..<chunk << 16 + 1, .prefetch).succeeds()) }
    #expect(station.want(remote, 0..<30 << 16, .prefetch).succeeds())
    #expect(station.origin.deliveries(blob).allSatisfy { $0 == 1 })
    try station.read(remote, 0..<30 << 16, of: blob)
  }

  @Test("an answer that is at once, and one that is before the call returns, are answers")
  func synchronous() throws {
    var random = SplitMix.announced("synchronous")
    let blob = TestBlob(count: 5 << 16, &random)
    let loop = TestLoop()
    defer { loop.stop() }
    let store = try BlobStore(cache: nil, origin: HastyOrigin(blob), loop: loop)
    defer { store.stop() }
    let remote = try store.open(blob.location, size: blob.size, folder: nil, deadline: Deadline(milliseconds: 1000))
    try store.bring(remote, 0..<blob.size, .demand, deadline: Deadline(milliseconds: 5000))
  }
}
