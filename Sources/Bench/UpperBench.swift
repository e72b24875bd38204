import Glibc
import LSMT

/// How fast the index of a writable layer takes writes and answers lookups.
///
/// All segments are 8 sectors, the 4 KiB of a small write. First they are written in random order until all of the
/// device is mapped, then again and again at random places; no two of them can be joined.
enum UpperBench {
  private static let span: UInt64 = 8
  private static let rounds = 20
  private static let operations = 100_000

  /// Prints a table: operations a second, in millions, on one core.
  static func run() {
    print("")
    print(
      "index of a writable layer, segments of \(span) sectors, on one CPU, M/s: filling it in random order; then best and"
    )
    print("median of \(rounds) rounds of random overwriting and of random lookups; bytes for each segment")
    print("segments       filling      overwriting          lookups    bytes")
    for count in [1_000, 100_000, 1_000_000] { measure(count) }
  }

  private static func measure(_ count: Int) {
    guard let index = try? UpperIndex(deviceSectors: UInt64(count) * span) else {
      fatalError("no address space for the benchmark's own index")
    }
    var random = Generator(0)
    var order = (0..<count).map { UInt64($0) }
    for place in order.indices.reversed() { order.swapAt(place, Int(random.below(UInt64(place + 1)))) }
    var blobSector: UInt64 = 8
    var freed: UInt64 = 0
    func write(_ place: UInt64) {
      // A gap, so that neighbours never join.
      index.insert(Segment(offset: place * span, length: UInt32(span), moffset: blobSector)) { freed &+= $1 }
      blobSector &+= span &+ 1
    }
    let filling = timed { for place in order { write(place) } }
    var overwriting: [UInt64] = []
    var lookups: [UInt64] = []
    var sum: UInt64 = 0
    let view = index.view
    let sectors = UInt64(count) * span
    for _ in 0..<rounds {
      overwriting.append(timed { for _ in 0..<operations { write(random.below(UInt64(count))) } })
      lookups.append(
        timed {
          for _ in 0..<operations {
            let piece = view.piece(at: random.below(sectors), limit: span)
            sum &+= piece.blobSector &+ piece.sectors
          }
        })
    }
    precondition(sum != 0 && freed == UInt64(rounds * operations) * span && index.segmentCount == count)
    let columns = [
      pad("\(count)", 8), pad(decimal(Double(count) / Double(filling) * 1e3), 13),
      pad(rates(overwriting), 16), pad(rates(lookups), 16), pad(decimal(Double(index.byteCount) / Double(count)), 8),
    ]
    print(columns.joined(separator: " "))
  }

  private static func rates(_ nanoseconds: [UInt64]) -> String {
    let sorted = nanoseconds.sorted()
    let rates = [sorted[0], sorted[sorted.count / 2]].map { decimal(Double(operations) / Double($0) * 1e3) }
    return "\(rates[0]) \(pad(rates[1], 6))"
  }

  private static func timed(_ body: () -> Void) -> UInt64 {
    let start = threadNanoseconds()
    body()
    return threadNanoseconds() - start
  }
}
