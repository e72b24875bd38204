import Glibc
import Posix
import TestSupport
import Testing

@testable import BlobStore

/// How much prefetch may be under way.
@Suite("The pace of a prefetch")
struct PrefetchPaceTests {
  /// The most bytes that are allowed beside one that flies.
  private func limit(_ pace: PrefetchPace) -> Int {
    var (allowed, refused) = (0, 1 << 40)
    while refused - allowed > 1 {
      let middle = (allowed + refused) / 2
      if pace.allows(middle - 1, beside: 1) { allowed = middle } else { refused = middle }
    }
    return allowed
  }

  /// Of a way that brought 8 MB in 30 ms or a bit more, with a round trip of 20 ms.
  private func seasoned() -> PrefetchPace {
    var pace = PrefetchPace()
    pace.noteStart()
    pace.noteFirstByte(20_000)
    usleep(30_000)
    pace.note(8_000_000)
    return pace
  }

  @Test("one fetch may always be under way, whatever is known and whoever reads")
  func neverStarves() {
    var pace = PrefetchPace()
    #expect(pace.allows(64 << 20, beside: 0))
    pace.noteDemand()
    #expect(pace.allows(64 << 20, beside: 0))
    pace = seasoned()
    pace.noteDemand()
    #expect(pace.allows(64 << 20, beside: 0))
    #expect(!pace.allows(64 << 20, beside: 1))
  }

  @Test("it is twice what the way holds, half of that while somebody reads, and all again when he has stopped")
  func half() {
    var pace = seasoned()
    let alone = limit(pace)
    // 30 ms is the least that the sleep takes, on a machine that is busy it is more.
    #expect(alone > 1 << 20 && alone <= 2 * 8_000_000 * 20 / 30, "\(alone)")
    pace.noteDemand()
    let beside = limit(pace)
    #expect(abs(beside - alone / 4) <= 1, "half of what the way holds: \(beside) of \(alone / 2)")
    usleep(220_000)
    #expect(limit(pace) == alone)
  }

  @Test("a way that is small or not known yet has its floor, also while somebody reads")
  func floors() {
    var pace = PrefetchPace()
    #expect(limit(pace) == 512 << 10)
    pace.noteStart()
    pace.noteFirstByte(1)
    usleep(15_000)
    pace.note(1000)
    #expect(limit(pace) == 512 << 10)
    pace.noteDemand()
    #expect(limit(pace) == 128 << 10)
  }

  @Test("a prefetch comes to its end beside readers who never stop, and they find it there or behind them")
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
  }
}
