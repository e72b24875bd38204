import Glibc
import Posix
import Testing
import Ublk
import UpperLayer

@testable import Device

/// Writes against a kernel in memory and a real upper. `WARMBLK_SEED` repeats one seed.
@Suite("A queue of a writable device, without a kernel")
struct WriteTests {
  private static let kinds = [UpperFiles.Kind.append, .sparse]

  @Test("answers every read with what was written last, or with what is below", arguments: kinds)
  func mix(_ kind: UpperFiles.Kind) throws {
    var waitingWrites = 0
    for seed in TestRun.seeds(20) {
      let run = try WriteRun(seed, .init(kind: kind))
      waitingWrites += run.transports[0].waitingWrites
      run.check(seed)
      #expect(run.counters.errors == 0, "seed \(seed)")
      try run.checkReopened(seed)
    }
    #expect((waitingWrites > 20) == (kind == .sparse), "\(waitingWrites) writes waited for what is below")
  }

  @Test("leaves of requests that overlap one writer's data in each sector", arguments: kinds)
  func overlaps(_ kind: UpperFiles.Kind) throws {
    for seed in TestRun.seeds(15) {
      let run = try WriteRun(seed, .init(requests: 200, sectors: 24, kind: kind))
      run.check(seed)
      #expect(run.counters.errors == 0, "seed \(seed)")
    }
  }

  @Test("passes an error to the request that it concerns, and to nobody else", arguments: kinds)
  func errors(_ kind: UpperFiles.Kind) throws {
    var failed = 0
    for seed in TestRun.seeds(25) {
      let faults = FakeTransport.Faults(
        error: 20, shortRead: 9, interruption: 9, writeError: 9, flushError: 4, zeroError: 6)
      let run = try WriteRun(seed, .init(faults: faults, kind: kind))
      run.check(seed)
      let answered = run.transports[0].tickets.filter { ($0.result ?? 0) < 0 }.count
      #expect(run.counters.errors == UInt64(answered), "seed \(seed)")
      failed += answered
    }
    #expect(failed > 40, "the faults did not strike")
  }

  @Test("says that the disk is full, and goes on when there is room")
  func fullDisk() throws {
    var full = 0
    var again = 0
    for seed in TestRun.seeds(20) {
      let run = try WriteRun(seed, .init(faults: .init(fullDisk: 7)))
      run.check(seed)
      let results = run.transports[0].tickets.filter { $0.request.operationNumber == 1 }.sorted { $0.ended < $1.ended }
      full += results.filter { $0.result == -ENOSPC }.count
      if let first = results.firstIndex(where: { $0.result == -ENOSPC }) {
        again += results[first...].filter { ($0.result ?? -1) > 0 }.count
      }
      #expect(results.allSatisfy { ($0.result ?? -1) > 0 || $0.result == -ENOSPC }, "seed \(seed)")
    }
    #expect(full > 25 && again > 25, "\(full) did not fit, \(again) did later")
  }

  @Test("serves one upper from two queues", arguments: kinds)
  func twoQueues(_ kind: UpperFiles.Kind) throws {
    for seed in TestRun.seeds(10) {
      let run = try WriteRun(seed, .init(queues: 2, requests: 300, sectors: 600, kind: kind))
      run.check(seed)
      #expect(run.counters.errors == 0, "seed \(seed)")
    }
  }

  @Test("gathers what arrives at once")
  func gathering() throws {
    var calls = 0
    var pieces = 0
    for seed in TestRun.seeds(20) {
      let run = try WriteRun(seed, .init(comesInBursts: true, operations: [1]))
      run.check(seed)
      calls += run.transports[0].writeCalls
      pieces += run.transports[0].writtenPieces
    }
    #expect(calls * 3 < pieces * 2, "\(pieces) writes in \(calls) calls")
  }

  @Test("flushes once for all that wait, after the writes that came with them")
  func sharedFlushes() throws {
    var here = 0
    var wanted = 0
    for seed in TestRun.seeds(20) {
      let run = try WriteRun(seed, .init(comesInBursts: true, operations: [1, 2, 2]))
      run.check(seed)
      let transport = run.transports[0]
      if transport.flushesHere == 0 { continue }
      here += transport.flushesHere
      wanted += transport.tickets.filter { $0.request.wantsFlush }.count
    }
    #expect(here > 20, "the upper is never in memory")
    #expect(here * 2 < wanted, "\(wanted) requests got \(here) flushes")
  }

  @Test("refuses ranges beyond the disk's end, and what it does not know")
  func refusals() throws {
    let outside = [1, 3, 5].flatMap { operation in
      [
        Request(operationNumber: operation, sectors: 8, startSector: 4090),
        Request(operationNumber: operation, sectors: 8, startSector: .max),
        Request(operationNumber: operation, sectors: 0, startSector: 0),
        Request(operationNumber: operation, sectors: .max, startSector: 1),
      ]
    }
    let tooLong = Request(operationNumber: 1, sectors: 1025, startSector: 0)
    let unknown = [
      Request(operationNumber: 4, sectors: 8, startSector: 0), Request(operationNumber: 15, sectors: 8, startSector: 0),
    ]
    for seed in TestRun.seeds(10) {
      let run = try WriteRun(seed, .init(requests: 10, extra: outside + [tooLong] + unknown))
      #expect(run.transports[0].complaints.isEmpty, "seed \(seed): \(run.transports[0].complaints)")
      let refused = run.transports[0].tickets.filter { $0.result.map { $0 < 0 } ?? true }
      #expect(refused.count == 15, "seed \(seed)")
      #expect(refused.filter { $0.result == -EIO }.count == 14, "seed \(seed)")
      #expect(refused.filter { $0.result == -EOPNOTSUPP }.map(\.request.operationNumber) == [15], "seed \(seed)")
    }
  }

  @Test("makes one snapshot after the other while requests come, and loses nothing", arguments: kinds)
  func snapshots(_ kind: UpperFiles.Kind) throws {
    var underLoad = 0
    var longest: UInt64 = 0
    for seed in TestRun.seeds(3) {
      let run = try WriteRun(seed, .init(queues: 2, requests: 500, kind: kind, snapshots: 20))
      run.check(seed)
      #expect(run.counters.errors == 0, "seed \(seed)")
      try run.checkReopened(seed)
      underLoad += run.snapshotsUnderLoad
      longest = max(longest, run.pauses.max() ?? 0)
    }
    print("snapshots: the longest of the pauses was \(longest / 1000) us")
    #expect(underLoad > 10, "only \(underLoad) snapshots were made under load")
  }

  @Test(
    "goes on as before when a pause fails, and passes errors to whom they concern across snapshots", arguments: kinds)
  func failedPauses(_ kind: UpperFiles.Kind) throws {
    var failed = 0
    for seed in TestRun.seeds(6) {
      let faults = FakeTransport.Faults(
        error: 40, shortRead: 9, interruption: 9, writeError: 30, flushError: 9, zeroError: 9, registration: 2)
      let run = try WriteRun(
        seed, .init(queues: 2, requests: 250, faults: faults, sectors: 600, kind: kind, snapshots: 5))
      run.check(seed)
      failed += run.failedPauses
    }
    #expect(failed > 3, "no pause failed")
  }

  @Test("holds requests until the pause is over, and no pause begins before its deadline when a request hangs")
  func hangingRequest() throws {
    let mailbox = try Mailbox()
    let point = PausePoint(mailbox)
    var ran = false
    do throws(DeviceError) {
      _ = try QueuePause.run([point], [], Deadline(milliseconds: 30), hasEnded: { false }) { () throws(DeviceError) in
        ran = true
        return nil
      }
      #expect(Bool(false), "a pause without an answer")
    } catch {
      #expect("\(error)".contains("under way"))
    }
    #expect(!ran)
    // The queue is told to stop, and then to go on.
    #expect(mailbox.take().count == 2)
    guard case .pause = point.take(), case .resume(nil) = point.take() else {
      return #expect(Bool(false), "no order to go on")
    }
    if point.take() != nil { #expect(Bool(false), "one order too many") }
  }
}
