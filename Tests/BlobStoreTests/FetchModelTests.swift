import Posix
import TestSupport
import Testing

@testable import BlobStore

@Suite("a model of what is fetched")
struct FetchModelTests {
  /// Reads as of a start: files, in which reads go on or jump.
  private func reads(_ size: Int, _ random: inout SplitMix) -> [Range<Int>] {
    var reads: [Range<Int>] = []
    for _ in 0..<40 {
      var at = Int.random(in: 0..<size, using: &random)
      let goesOn = Int.random(in: 1...12, using: &random)
      for _ in 0..<goesOn {
        let count = [4096, 8192, 16384, 65536].randomElement(using: &random)!
        let range = at..<min(size, at + count)
        if range.isEmpty { break }
        reads.append(range)
        at = range.upperBound + (Bool.random(using: &random) ? 0 : Int.random(in: 0...(64 << 10), using: &random))
        if at >= size { break }
      }
    }
    return reads
  }

  @Test("requests and bytes are the store's within 15 %, where reads jump, go on, and read all")
  func sameAsStore() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SplitMix(state: seed)
    let blob = TestBlob(count: 24 << 20, &random)
    let inOrder = stride(from: 0, to: 24 << 20, by: 32768).map { $0..<$0 + 32768 }
    for reads in [reads(24 << 20, &random), reads(24 << 20, &random), inOrder] {
      // A reader in order is quicker or slower than his link; only one who waits for all is the same each time.
      let station = try Station(nil, [blob])
      let opened = try station.open(blob)
      var model = FetchModel(opened)
      var link = LinkModel(roundTrip: 0, rate: .infinity)
      var now = 0.0
      for read in reads {
        try station.read(opened, read, of: blob)
        now = model.read(UInt64(read.lowerBound)..<UInt64(read.upperBound), at: now, over: &link)
      }
      let log = station.origin.log
      print("\(log.requests.count) requests of \(log.bytes) bytes; foretold: \(link.requests), \(link.bytes)")
      #expect(abs(Double(link.requests) / Double(log.requests.count) - 1) < 0.15, "seed \(seed)")
      #expect(abs(Double(link.bytes) / Double(log.bytes) - 1) < 0.15, "seed \(seed)")
    }
  }

  @Test("seconds are round trips and bytes: what is asked for at once shares the way, and what is here costs nothing")
  func seconds() {
    var model = FetchModel(size: 64 << 20)
    // A MiB of content a second, in frames.
    var link = LinkModel(roundTrip: 0.5, rate: Double(1 << 20) * 1514 / 1448)
    let head = link.seconds(0, inAnswers: 1)
    #expect(head > 250.0 / Double(1 << 20) && head < 450.0 / Double(1 << 20))
    #expect(abs(link.seconds(1 << 20, inAnswers: 10) - 1 - 10 * head) < 1e-6)
    // 160 KiB are asked for; the reader goes on when his 64 are here.
    let first = model.read(0..<64 << 10, at: 0, over: &link)
    #expect(abs(first - (0.5 + head + 64 / 1024)) < 1e-6)
    #expect(link.requests == 1 && link.bytes == 160 << 10)
    // Far away: behind the rest of the first.
    let second = model.read(32 << 20..<(32 << 20) + 1024, at: 0.1, over: &link)
    #expect(abs(second - (0.5 + head + 160 / 1024 + head + 1 / 1024)) < 1e-6)
    #expect(link.requests == 2)
    let third = model.read(0..<100 << 10, at: 9, over: &link)
    #expect(third == 9 && link.requests == 2)
  }

  @Test("what a prefetch names is asked for once, without what is here, and is here then")
  func prefetched() {
    var model = FetchModel(size: 1 << 20)
    var link = LinkModel(roundTrip: 1, rate: 1e6)
    #expect(model.prefetch(10_240..<20_480) == [10_240..<20_480])
    #expect(model.prefetch(0..<40_960) == [0..<10_240, 20_480..<40_960])
    #expect(model.read(0..<40_960, at: 3, over: &link) == 3 && link.requests == 0)
    #expect(model.prefetch((1 << 20) - 1..<(1 << 20) + 99) == [(1 << 20) - 1024..<1 << 20])
  }
}
