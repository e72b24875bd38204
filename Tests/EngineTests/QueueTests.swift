import Glibc
import Testing
import Ublk

@testable import Device

/// The queue against a kernel in memory. `WARMBLK_SEED` repeats one seed, `WARMBLK_SEEDS` says how many are tried.
@Suite("A queue without a kernel")
struct QueueTests {
  /// Every request was answered once: with the right bytes, or with an error that has a cause.
  private func check(_ outcome: TestRun, _ seed: UInt64) {
    #expect(outcome.ended, "seed \(seed): the queue did not end")
    #expect(outcome.transport.complaints.isEmpty, "seed \(seed): \(outcome.transport.complaints)")
    for ticket in outcome.transport.tickets where ticket.request.isRead {
      let bytes = Int(ticket.request.sectors) * 512
      if ticket.result == Int32(bytes) {
        let isRight = outcome.stack.holds(
          ticket.data, at: Int(ticket.request.startSector), sectors: Int(ticket.request.sectors))
        #expect(isRight, "seed \(seed): wrong bytes at sector \(ticket.request.startSector)")
      } else {
        #expect(ticket.result == -EIO, "seed \(seed): result \(ticket.result.map(String.init) ?? "none")")
        #expect(ticket.sawFault, "seed \(seed): an error without a cause")
      }
    }
  }

  @Test("answers every read with the bytes of the merged view")
  func reads() throws {
    for seed in TestRun.seeds(60) {
      let outcome = try TestRun(seed)
      check(outcome, seed)
      #expect(outcome.counters.requests == 60 && outcome.counters.errors == 0, "seed \(seed)")
      let bytes = outcome.transport.tickets.reduce(0) { $0 + UInt64($1.request.sectors) * 512 }
      #expect(outcome.counters.bytes == bytes, "seed \(seed): counted \(outcome.counters.bytes) of \(bytes) bytes")
    }
  }

  @Test("goes on after short reads and interruptions")
  func shortReads() throws {
    for seed in TestRun.seeds(60) {
      let outcome = try TestRun(seed, faults: .init(shortRead: 3, interruption: 4))
      check(outcome, seed)
      #expect(outcome.counters.errors == 0, "seed \(seed)")
    }
  }

  @Test("passes an error to the reader that it concerns, and to nobody else")
  func errors() throws {
    var failed = 0
    for seed in TestRun.seeds(60) {
      let outcome = try TestRun(seed, faults: .init(error: 12, shortRead: 9, interruption: 9, copyError: 20))
      check(outcome, seed)
      let answered = outcome.transport.tickets.filter { $0.result == -EIO }.count
      #expect(outcome.counters.errors == UInt64(answered), "seed \(seed)")
      failed += answered
    }
    #expect(failed > 50, "the faults did not strike")
  }

  @Test("never makes up bytes for a file that ends early")
  func truncation() throws {
    for seed in TestRun.seeds(40) {
      check(try TestRun(seed, faults: .init(shortRead: 5, truncation: 3000)), seed)
    }
  }

  @Test("brings bytes of remote layers before it reads them")
  func remoteReads() throws {
    var wanted = 0
    for seed in TestRun.seeds(80) {
      let outcome = try TestRun(seed, faults: .init(shortRead: 6, interruption: 9), areRemote: true)
      check(outcome, seed)
      #expect(outcome.counters.errors == 0, "seed \(seed)")
      wanted += outcome.transport.wants
    }
    #expect(wanted > 200, "nothing was wanted")
  }

  @Test("believes no byte of a chunk that was dropped while it was read")
  func droppedChunks() throws {
    for seed in TestRun.seeds(80) {
      let outcome = try TestRun(seed, faults: .init(shortRead: 6, interruption: 9, drop: 40), areRemote: true)
      check(outcome, seed)
      #expect(outcome.counters.errors == 0, "seed \(seed)")
    }
  }

  @Test("has damaged bytes of a remote layer brought again, once")
  func repairs() throws {
    var repaired = 0
    for seed in TestRun.seeds(80) {
      let outcome = try TestRun(seed, faults: .init(drop: 90, spoiling: 2), areRemote: true)
      check(outcome, seed)
      #expect(outcome.counters.errors == 0, "seed \(seed)")
      repaired += outcome.transport.repairs
    }
    #expect(repaired > 20, "nothing was repaired")
  }

  @Test("passes on what a registry cannot give, and damage that stays")
  func remoteErrors() throws {
    var failed = 0
    for seed in TestRun.seeds(80) {
      let outcome = try TestRun(
        seed, faults: .init(copyError: 40, fetchError: 9, drop: 40, spoiling: 4, spoilingForGood: 2), areRemote: true)
      check(outcome, seed)
      failed += outcome.transport.tickets.filter { $0.result == -EIO }.count
    }
    #expect(failed > 50, "the faults did not strike")
  }

  @Test("refuses what a read-only disk cannot do, and ranges beyond its end")
  func refusals() throws {
    let strange: [Request] = [
      Request(operationNumber: 1, sectors: 8, startSector: 0),
      Request(operationNumber: 3, sectors: 1 << 30, startSector: 0),
      Request(operationNumber: 5, sectors: 8, startSector: 0),
      Request(operationNumber: 200, sectors: 8, startSector: 0),
    ]
    let outside: [Request] = [
      Request(operationNumber: 0, sectors: 8, startSector: 4090),
      Request(operationNumber: 0, sectors: 8, startSector: .max),
      Request(operationNumber: 0, sectors: 0, startSector: 0),
      Request(operationNumber: 0, sectors: .max, startSector: 0),
      Request(operationNumber: 0, sectors: 1025, startSector: 0),
    ]
    for seed in TestRun.seeds(20) {
      let outcome = try TestRun(seed, requests: 10, extra: strange + outside)
      #expect(outcome.transport.complaints.isEmpty, "seed \(seed): \(outcome.transport.complaints)")
      for ticket in outcome.transport.tickets {
        if !ticket.request.isRead {
          #expect(ticket.result == -EOPNOTSUPP)
        } else if outside.contains(where: {
          $0.startSector == ticket.request.startSector && $0.sectors == ticket.request.sectors
        }) {
          #expect(ticket.result == -EIO)
        } else {
          #expect(ticket.result == Int32(ticket.request.sectors) * 512)
        }
      }
      #expect(outcome.counters.errors == 9)
    }
  }
}
