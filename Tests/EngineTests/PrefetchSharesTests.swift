import Testing

@testable import Device
@testable import Image

@Suite("Shares of a prefetch")
struct PrefetchSharesTests {
  @Test("all get the same, within one request, each in the order in which they are due")
  func even() {
    var random = SystemRandomNumberGenerator()
    for count in [1, 2, 3, 4, 7, 16] {
      let requests = (0..<500).map { number in
        let start = UInt64(number) << 20
        return WarmPlan.Request(
          layer: number % 3, range: start..<start + UInt64.random(in: 1...1 << 20, using: &random),
          microseconds: UInt64(number / 5))
      }
      let shares = Prefetcher.shares(requests, count: count)
      #expect(shares.count == count)
      let bytes = shares.map { $0.reduce(0) { $0 + $1.range.count } }
      let largest = requests.map(\.range.count).max()!
      #expect(bytes.max()! - bytes.min()! <= largest, "\(bytes)")
      for share in shares {
        #expect(zip(share, share.dropFirst()).allSatisfy { $0.range.lowerBound < $1.range.lowerBound })
      }
      // All of them, each once.
      let dealt = shares.joined().sorted { $0.range.lowerBound < $1.range.lowerBound }
      #expect(dealt == requests)
    }
    #expect(Prefetcher.shares([], count: 4).allSatisfy(\.isEmpty) && Prefetcher.shares([], count: 0).count == 1)
  }

  @Test("all are equally far in time: what is due first begins first, whoever has it")
  func together() {
    let requests = (0..<64).map { number in
      WarmPlan.Request(layer: 0, range: UInt64(number) << 16..<UInt64(number + 1) << 16, microseconds: UInt64(number))
    }
    let shares = Prefetcher.shares(requests, count: 4)
    for step in 0..<16 {
      #expect(Set(shares.map { $0[step].microseconds }) == Set((0..<4).map { UInt64(step * 4 + $0) }))
    }
  }
}
