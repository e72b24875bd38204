import Testing
import UpperLayer

@testable import Device

/// Servers that are killed, and the queues of those that take over, against a kernel in memory and a real upper.
/// `WARMBLK_SEED` repeats one seed.
@Suite("Queues whose server is killed, without a kernel")
struct RecoveryTests {
  private struct Sum {
    var deaths = 0
    var deathsInOpening = 0
    var faults = 0
    var failed = 0
    var replayed: UInt64 = 0
    var reissued = FakeTransport.Reissued()

    mutating func add(_ run: RecoveryRun) {
      deaths += run.deaths
      deathsInOpening += run.deathsInOpening
      faults += run.faults
      replayed += run.replayedEntries
      for transport in run.transports {
        failed += transport.tickets.filter { ($0.result ?? 0) < 0 }.count
        reissued.total += transport.reissued.total
        reissued.unseen += transport.reissued.unseen
        reissued.working += transport.reissued.working
        reissued.written += transport.reissued.written
      }
    }
  }

  @Test(
    "The next server has all that was acknowledged, and does again what was not answered",
    arguments: [UpperFiles.Kind.append, .sparse])
  func deaths(_ kind: UpperFiles.Kind) throws {
    var sum = Sum()
    let seeds = TestRun.seeds(10)
    for seed in seeds { sum.add(try RecoveryRun(seed, .init(kind: kind))) }
    print("deaths, \(kind): \(sum)")
    #expect(sum.deaths == 12 * seeds.count && sum.deathsInOpening > 2 && sum.failed == 0)
    #expect((sum.replayed > 200) == (kind == .append))
    let reissued = sum.reissued
    #expect(reissued.unseen > 3 && reissued.working > 20 && reissued.written > 30)
  }

  @Test("So it is with two queues", arguments: [UpperFiles.Kind.append, .sparse])
  func twoQueues(_ kind: UpperFiles.Kind) throws {
    var sum = Sum()
    let seeds = TestRun.seeds(5)
    for seed in seeds { sum.add(try RecoveryRun(seed, .init(kind: kind, queues: 2))) }
    print("deaths with two queues, \(kind): \(sum)")
    #expect(sum.deaths == 12 * seeds.count && sum.failed == 0)
    #expect(sum.reissued.unseen > 30 && sum.reissued.working > 50 && sum.reissued.written > 30)
  }

  @Test(
    "So it is when the disk has errors or is full, and only requests that had to do with it fail",
    arguments: [UpperFiles.Kind.append, .sparse])
  func errors(_ kind: UpperFiles.Kind) throws {
    var sum = Sum()
    let seeds = TestRun.seeds(8)
    for seed in seeds { sum.add(try RecoveryRun(seed, .init(kind: kind, queues: 2, hasErrors: true))) }
    print("deaths and errors, \(kind): \(sum)")
    #expect(sum.deaths == 12 * seeds.count && sum.faults > 10 && sum.failed > 5)
  }

  @Test("A seed gives the same run again")
  func repeats() throws {
    let runs = try (0..<2).map { _ in try RecoveryRun(3, .init(queues: 2, hasErrors: true)) }
    let results = runs.map { $0.transports.map { $0.tickets.map { [Int64($0.result ?? 1), Int64($0.ended)] } } }
    #expect(results[0] == results[1])
  }
}
