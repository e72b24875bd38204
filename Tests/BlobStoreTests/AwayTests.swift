import Glibc
import Posix
import TestSupport
import Testing

@testable import BlobStore

/// A registry of which its client knows that nothing will come in time: it rests, or asked for time.
@Suite("A registry that is away")
struct AwayTests {
  /// Prefetches of 64 KiB each and, with `reads`, reads of other bytes, against an origin that ends each fetch at once.
  private func requests(_ prefetches: Int, reads: Int, milliseconds: Int) throws -> (asked: Int, seconds: Double) {
    var random = SplitMix.announced("away")
    let blob = TestBlob(count: 24 << 20, &random)
    let station = try Station(nil, [blob]) { _ in .failing(.deadline(FakeOrigin.place, last: nil)) }
    let remote = try station.open(blob)
    let began = monotonicNanoseconds()
    let all = (0..<prefetches).map {
      station.prefetch(remote, $0 << 16..<($0 + 1) << 16, milliseconds: milliseconds)
    }
    let waits = (0..<reads).map {
      let start = 20 << 20 + $0 * (512 << 10)
      return station.want(remote, start..<start + 4096, .demand, milliseconds: milliseconds)
    }
    for prefetch in all { #expect(prefetch.fails()) }
    for wait in waits { #expect(wait.end()?.error != nil) }
    return (station.origin.log.requests.count, Double(monotonicNanoseconds() - began) / 1e9)
  }

  @Test("is asked by one prefetch a second at most, however many wait, and each ends with an error in its time")
  func prefetch() throws {
    let (asked, seconds) = try requests(300, reads: 0, milliseconds: 3000)
    print("\(asked) requests in \(seconds) s for 300 prefetches")
    #expect(asked <= PrefetchPace.flightsMax + Int(seconds) + 1 && (2.9..<6).contains(seconds))
  }

  @Test("is asked for each read once a second at most, beside a prefetch, and reads wait as long as they may")
  func beside() throws {
    let (asked, seconds) = try requests(300, reads: 6, milliseconds: 3000)
    print("\(asked) requests in \(seconds) s for 300 prefetches and 6 reads")
    #expect(asked <= PrefetchPace.flightsMax + 7 * (Int(seconds) + 2) && (2.9..<6).contains(seconds))
  }

  @Test("gets all of a prefetch once it is back")
  func back() throws {
    var random = SplitMix.announced("back")
    let blob = TestBlob(count: 8 << 20, &random)
    let station = try Station(nil, [blob]) { _ in .failing(.deadline(FakeOrigin.place, last: nil)) }
    let remote = try station.open(blob)
    let all = (0..<100).map { station.prefetch(remote, $0 << 16..<($0 + 1) << 16) }
    usleep(300_000)
    #expect(station.origin.log.bytes == 0)
    station.origin.answer { _ in .prompt }
    for prefetch in all { #expect(prefetch.missing() == 1 << 16) }
    #expect(station.origin.log.bytes == 100 << 16)
  }
}
