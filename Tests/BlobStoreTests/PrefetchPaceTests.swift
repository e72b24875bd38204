import Posix
import TestSupport
import Testing

@testable import BlobStore

/// How much prefetch may be under way.
@Suite("The pace of a prefetch")
struct PrefetchPaceTests {
  private static let slice = PrefetchPace.sliceMin
  /// A moment after what `seasoned` has seen.
  private static let now: UInt64 = 5_000_000_000

  /// The most bytes of prefetch under way beside which a fetch of a slice may be started.
  private func limit(_ pace: PrefetchPace, others: Int = 0, at now: UInt64 = now) -> Int {
    var (allowed, refused) = (0, 1 << 40)
    while refused - allowed > 1 {
      let middle = (allowed + refused) / 2
      if pace.allows(Self.slice, beside: middle, others: others, at: now) { allowed = middle } else { refused = middle }
    }
    return allowed
  }

  /// Of a way with a round trip of 20 ms that brought 4 MB in 40 ms: it holds 2 MB.
  private func seasoned() -> PrefetchPace {
    var pace = PrefetchPace()
    pace.noteStart(at: 4_900_000_000)
    pace.noteFirstByte(20_000, beside: 0, at: 4_920_000_000)
    pace.note(4_000_000, at: 4_940_000_000)
    return pace
  }

  @Test("one fetch may always be under way, whatever is known and whoever reads")
  func neverStarves() {
    var pace = PrefetchPace()
    #expect(pace.allows(64 << 20, beside: 0, others: 1 << 30, at: Self.now))
    pace.noteDemand(at: Self.now)
    #expect(pace.allows(64 << 20, beside: 0, others: 1 << 30, at: Self.now))
    pace = seasoned()
    pace.noteDemand(at: Self.now)
    for _ in 0..<200 { pace.noteFirstByte(90_000, beside: 1 << 20, at: Self.now) }
    #expect(pace.allows(64 << 20, beside: 0, others: 1 << 30, at: Self.now))
    #expect(!pace.allows(64 << 20, beside: 1, others: 0, at: Self.now))
  }

  @Test("alone it is twice what the way holds, and the next long fetch is asked for before the last one is here")
  func alone() {
    let pace = seasoned()
    #expect(limit(pace) == 4_000_000 - Self.slice)
    #expect(pace.sliceMax(at: Self.now) == nil && pace.allows(64 << 20, beside: 2_000_000, others: 0, at: Self.now))
    #expect(!pace.allows(64 << 20, beside: 2_000_001, others: 0, at: Self.now))
  }

  @Test("while somebody reads what he asked for counts, requests are short, and all is as before when he has stopped")
  func shared() {
    var pace = seasoned()
    pace.noteDemand(at: Self.now)
    // Half of what the way holds, in requests of an eighth.
    let after = Self.now + PrefetchPace.silence - 1
    for now in [Self.now, after] {
      #expect(pace.sliceMax(at: now) == 250_000 && !pace.allows(1 << 20, beside: 750_001, others: 0, at: now))
      #expect(limit(pace, at: now) == 1_000_000 - Self.slice)
      #expect(limit(pace, others: 500_000, at: now) == 500_000 - Self.slice)
    }
    #expect(limit(pace, at: after + 1) == 4_000_000 - Self.slice && pace.sliceMax(at: after + 1) == nil)
  }

  @Test("what is held back for readers is not taken for all that the way can do")
  func heldBack() {
    var pace = seasoned()
    pace.noteStart(at: Self.now)
    for number in 1...20 {
      pace.noteDemand(at: Self.now + UInt64(number) * 30_000_000)
      pace.note(1000, at: Self.now + UInt64(number) * 30_000_000)
    }
    #expect(limit(pace, at: Self.now * 2) == 4_000_000 - Self.slice)
  }

  @Test("while somebody reads it is less when first bytes come late, and more when they do not and all of it is used")
  func feltDelay() {
    var pace = seasoned()
    pace.noteDemand(at: Self.now)
    let before = limit(pace)
    pace.noteFirstByte(22_000, beside: 1 << 30, at: Self.now)
    let more = limit(pace)
    #expect(more > before)
    pace.noteFirstByte(22_000, beside: 0, at: Self.now)
    #expect(limit(pace) == more)
    for _ in 0..<8 { pace.noteFirstByte(24_000, beside: 0, at: Self.now) }
    #expect(limit(pace) < before / 2)
    for _ in 0..<100 { pace.noteFirstByte(24_000, beside: 0, at: Self.now) }
    #expect(limit(pace) == 0)
    for _ in 0..<200 { pace.noteFirstByte(20_000, beside: 1 << 30, at: Self.now) }
    #expect(limit(pace) > before)
  }

  @Test(
    "the shortest time to a first byte is that of the last ten to twenty seconds: the way may be another one by now")
  func epochs() {
    var pace = seasoned()
    for second in UInt64(1)...25 { pace.noteFirstByte(40_000, beside: 0, at: Self.now + second * 1_000_000_000) }
    #expect(limit(pace, at: Self.now * 8) == 8_000_000 - Self.slice)
  }

  @Test("a way that is small or not known yet has its floor, also while somebody reads")
  func floors() {
    var pace = PrefetchPace()
    #expect(limit(pace) == (512 << 10) - Self.slice)
    pace.noteStart(at: Self.now)
    pace.noteFirstByte(1, beside: 0, at: Self.now)
    pace.note(1000, at: Self.now + 15_000_000)
    #expect(limit(pace) == (512 << 10) - Self.slice)
    pace.noteDemand(at: Self.now)
    #expect(limit(pace) == 0 && pace.sliceMax(at: Self.now) == Self.slice)
  }

  @Test("a prefetch comes to its end beside readers who never stop, in short requests, and brings nothing twice")
  func besideReaders() throws {
    var random = SplitMix.announced("prefetch beside readers")
    let blob = TestBlob(count: 24 << 20, &random)
    let station = try Station(nil, [blob]) { _ in FakeOrigin.Answer(delay: 4, step: 64 << 10, pause: 1) }
    let remote = try station.open(blob)
    let parts = (0..<32).map { $0 << 18..<($0 + 1) << 18 }
    let prefetches = parts.map { station.prefetch(remote, $0) }
    var (reads, longest) = (0, 0)
    while prefetches.contains(where: { $0.answer.wait(Deadline(milliseconds: 0)) == nil }), reads < 2000 {
      let start = 8 << 20 + Int.random(in: 0..<16 << 20 - 4096, using: &random)
      let wait = station.want(remote, start..<start + 4096, .demand)
      longest = max(longest, try #require(wait.took()))
      reads += 1
    }
    for prefetch in prefetches { #expect(prefetch.missing() != nil) }
    #expect(reads > 3)
    print("\(reads) reads, the longest \(longest) ms, beside 8 MiB of prefetch")
    #expect(longest < 1000)
    let ranges = station.origin.log.requests.map(\.range).filter { $0.upperBound <= 8 << 20 }
    #expect(ranges.reduce(0) { $0 + $1.count } == 8 << 20)
    // The first went out before anybody read.
    #expect(ranges.dropFirst(4).allSatisfy { $0.count <= Self.slice }, "\(ranges.map(\.count))")
  }
}
