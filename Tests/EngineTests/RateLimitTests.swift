import Glibc
import Posix
import Testing

@testable import Device

/// Bytes a second.
@Suite("Limits of a rate")
struct RateLimitTests {
  private func seconds(_ body: () throws -> Void) rethrows -> Double {
    let began = monotonicNanoseconds()
    try body()
    return Double(monotonicNanoseconds() - began) / 1e9
  }

  /// Runs `body` on so many threads; returns when all have ended.
  private func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws {
    let threads = try (0..<count).map { number in try Posix.Thread(name: "test") { body(number) } }
    for thread in threads { #expect(thread.join(Deadline(milliseconds: 60_000))) }
  }

  @Test("what several threads ask for together takes its time, and not much more")
  func shared() throws {
    let rate = RateLimit(bytesPerSecond: 1_000_000)
    let took = try seconds { try onThreads(3) { _ in for _ in 0..<20 { rate.wait(for: 10_000) } } }
    // The last 10 kB begin 10 ms before the end, and 50 ms may be ahead.
    #expect((0.5..<3).contains(took), "600 kB at 1 MB/s took \(took) s")
  }

  @Test("one request that is more than a second's bytes is not let through at once")
  func large() throws {
    let rate = RateLimit(bytesPerSecond: 100_000)
    let took = seconds { rate.wait(for: 90_000) }
    #expect((0.55..<3).contains(took), "90 kB at 100 kB/s took \(took) s")
  }

  @Test("two who have the same file share what it allows")
  func node() throws {
    let path = "/tmp/warmblk-test-rate-\(getpid())"
    defer { unlink(path) }
    let rates = try (0..<2).map { _ in try NodeRate(path: path, bytesPerSecond: 2_000_000) }
    let took = try seconds { try onThreads(2) { number in for _ in 0..<60 { rates[number].wait(for: 10_000) } } }
    #expect((0.5..<3).contains(took), "2 times 600 kB at 2 MB/s took \(took) s")
  }

  @Test("a file that is damaged, short or of another boot keeps nobody")
  func damaged() throws {
    let path = "/tmp/warmblk-test-rate-damaged-\(getpid())"
    defer { unlink(path) }
    let now = monotonicNanoseconds()
    let numbers: [UInt64] = [.max, .max - 1, now + 3600 * 1_000_000_000, now + 61 * 1_000_000_000, 0, 1]
    for number in numbers {
      try writeFileAtomically(path, withUnsafeBytes(of: number.littleEndian) { Array($0) })
      let rate = try NodeRate(path: path, bytesPerSecond: 1_000_000)
      let took = seconds { for _ in 0..<10 { rate.wait(for: 10_000) } }
      #expect(took < 1, "\(number): 100 kB at 1 MB/s took \(took) s")
    }
    for bytes in [[], [255, 255, 255]] as [[UInt8]] {
      try writeFileAtomically(path, bytes)
      let rate = try NodeRate(path: path, bytesPerSecond: 1_000_000)
      #expect(seconds { rate.wait(for: 10_000) } < 1)
    }
    #expect(throws: Errno.self) { try NodeRate(path: "/nonexistent/rate", bytesPerSecond: 1) }
  }
}
