import Posix
import Synchronization
import Testing
import TestSupport

@testable import BlobStore
@testable import Registry

/// Every wait has an end.
@Suite struct DeadlineTests {
  @Test("whatever the origin does, a wait ends at its deadline, and with right bytes or an error")
  func random() throws {
    var random = SplitMix.announced("deadlines random")
    let blob = TestBlob(count: 20 << 16 + 99, &random)
    for isCached in [true, false] {
      let scratch = try Scratch()
      let seed = random.next()
      let station = try Station(isCached ? scratch("cache") : nil, [blob]) { request in
        var random = SplitMix(state: seed &+ UInt64(request.number))
        return .random(&random, size: request.range.count)
      }
      let seeds = random.next()
      onThreads(6) { number in
        var random = SplitMix(state: seeds &+ UInt64(number))
        let remote = try station.open(blob)
        for _ in 0..<12 {
          let start = Int.random(in: 0..<blob.bytes.count, using: &random)
          let range = start..<min(blob.bytes.count, start + Int.random(in: 1...400_000, using: &random))
          let milliseconds = Int.random(in: 0...700, using: &random)
          let wait = station.want(remote, range, .demand, milliseconds: milliseconds)
          let took = wait.took() ?? .max
          try check(took <= milliseconds + 1000, "a wait of \(milliseconds) ms took \(took) ms")
          if wait.succeeds() { try station.read(remote, range, of: blob) }
        }
      }
      let counts = station.store.counters.snapshot
      #expect(counts.failures > 0 && counts.repairs == 0)
    }
  }

  @Test("an origin that never ends a fetch does not keep its chunks for ever")
  func stuck() throws {
    var random = SplitMix.announced("stuck")
    let blob = TestBlob(count: 5 << 16, &random)
    let station = try Station(nil, [blob]) { request in
      request.number == 0 ? FakeOrigin.Answer(isSilent: true, ignoresDeadline: true) : .prompt
    }
    let remote = try station.open(blob)
    let first = station.want(remote, 0..<5 << 16, .demand, milliseconds: 300)
    let second = station.want(remote, 0..<5 << 16, .demand, milliseconds: nil)
    let third = station.want(remote, 1..<2, .demand, milliseconds: 10_000)
    guard case .timedOut? = first.end()?.error else { return #expect(Bool(false), "the first wait did not time out") }
    // Somebody waits without an end, so the origin may take its time.
    #expect(third.end(within: 500) == nil && second.end(within: 1) == nil)
    station.store.stop()
    #expect(second.end(within: 2000)?.error == .stopped && third.end(within: 2000)?.error == .stopped)
    #expect(station.origin.log.cancelled == 1)
  }

  @Test("a wait that joins a fetch that is never ended gets a fetch of its own")
  func joinsStuck() throws {
    var random = SplitMix.announced("joinsStuck")
    let blob = TestBlob(count: 5 << 16, &random)
    let station = try Station(nil, [blob]) { request in
      request.number == 0 ? FakeOrigin.Answer(isSilent: true, ignoresDeadline: true) : .prompt
    }
    let remote = try station.open(blob)
    let first = station.want(remote, 0..<5 << 16, .demand, milliseconds: 200)
    let second = station.want(remote, 0..<5 << 16, .demand, milliseconds: 10_000)
    // Told before the second one came: the origin should have ended it after 200 ms.
    #expect(!first.succeeds())
    #expect(second.succeeds(within: 3000))
  }

  @Test("a registry that rests for longer than anybody waits is not asked again and again until that time is over")
  func resting() throws {
    var random = SplitMix.announced("resting")
    let blob = TestBlob(count: 5 << 16, &random)
    let station = try Station(nil, [blob]) { _ in .failing(.deadline(FakeOrigin.place, last: nil)) }
    let remote = try station.open(blob)
    let wait = station.want(remote, 0..<1 << 16, .prefetch, milliseconds: 1000)
    let took = try #require(wait.took())
    #expect((900...2000).contains(took))
    // With the reason, not only that it took too long.
    #expect(wait.end()?.error == .registry(.deadline(FakeOrigin.place, last: nil)))
    #expect(station.origin.log.requests.count <= 10, "\(station.origin.log.requests.count) requests in a second")
  }

  @Test("who waits without an end gets the bytes when the registry is back")
  func patient() throws {
    var random = SplitMix.announced("patient")
    let blob = TestBlob(count: 5 << 16, &random)
    let isDown = Atomic<Bool>(false)
    let station = try Station(nil, [blob]) { _ in
      isDown.load(ordering: .relaxed)
        ? .failing(.connection(FakeOrigin.place, curl: "refused"), after: 70_000) : .prompt
    }
    let remote = try station.open(blob)
    // Until the registry has said once how large the blob is, nothing of an answer that fails is used.
    try station.read(remote, blob.bytes.count - 1..<blob.bytes.count, of: blob)
    isDown.store(true, ordering: .relaxed)
    let patient = station.want(remote, 0..<5 << 16, .demand, milliseconds: nil)
    let other = station.want(remote, 3 << 16..<4 << 16, .demand, milliseconds: 20_000)
    guard case .registry(.connection)? = other.end(within: 3000)?.error else {
      return #expect(Bool(false), "an error that ends the fetch ends the wait that has a deadline")
    }
    #expect(patient.end(within: 1500) == nil)
    isDown.store(false, ordering: .relaxed)
    #expect(patient.succeeds(within: 3000))
    try station.read(remote, 0..<5 << 16, of: blob)
    // What had come by then was not fetched again.
    #expect(station.origin.log.requests.filter { $0.range.lowerBound == 0 }.count == 1)
  }

  @Test("stop ends all waits, those for other processes too, and no new one begins")
  func stops() throws {
    var random = SplitMix.announced("stops")
    let blob = TestBlob(count: 20 << 16, &random)
    let scratch = try Scratch()
    let other = try Station(scratch("cache"), [blob]) { _ in FakeOrigin.Answer(isSilent: true) }
    _ = other.want(try other.open(blob), 0..<2 << 16, .prefetch)
    other.loop.run {}
    let station = try Station(scratch("cache"), [blob]) { _ in FakeOrigin.Answer(isSilent: true) }
    let remote = try station.open(blob)
    let waits = (0..<20).map { station.want(remote, $0 << 16..<($0 + 1) << 16, .prefetch, milliseconds: nil) }
    let tail = OneShot<BlobError?>()
    let opener = try Posix.Thread(name: "opener") {
      do throws(BlobError) {
        _ = try station.store.open(
          blob.location, size: nil, folder: nil, deadline: Deadline(milliseconds: 20_000))
        tail.set(nil)
      } catch {
        tail.set(error)
      }
    }
    #expect(Deadline(milliseconds: 5000).wait { station.origin.log.requests.count == 9 })
    station.store.stop()
    #expect(tail.wait(Deadline(milliseconds: 2000)) == .stopped)
    #expect(opener.join(Deadline(milliseconds: 5000)))
    for wait in waits { #expect(wait.end(within: 2000)?.error == .stopped) }
    #expect(station.want(remote, 0..<1, .demand).end(within: 2000)?.error == .stopped)
    #expect(throws: BlobError.stopped) { try station.bytes(remote, 0..<10) }
    #expect(station.loop.run { station.store.flights.isEmpty && station.store.flying.values.allSatisfy { $0 == 0 } })
  }

  @Test("a loop that is stuck does not keep a reader longer than two seconds beyond its deadline")
  func stuckLoop() throws {
    var random = SplitMix.announced("stuckLoop")
    let blob = TestBlob(count: 5 << 16, &random)
    let station = try Station(nil, [blob])
    let remote = try station.open(blob)
    station.loop.pause()
    let began = monotonicNanoseconds()
    #expect(throws: BlobError.self) { try station.bytes(remote, 0..<10, milliseconds: 100) }
    #expect(throws: BlobError.self) {
      try station.store.open(blob.location, size: nil, folder: nil, deadline: Deadline(milliseconds: 100))
    }
    #expect(monotonicNanoseconds() - began < 4_000_000_000)
    station.loop.resume()
  }

  @Test("deadlines of absurd length are long, not wrong")
  func absurd() {
    for milliseconds in [Int.max, Int.max / 1_000_000, .max / 2_000_000] {
      #expect(!Deadline(milliseconds: milliseconds).hasPassed)
    }
    #expect(Deadline(milliseconds: .min).hasPassed)
  }
}
