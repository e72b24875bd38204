import Foundation
import Posix
import TestSupport
import Testing

@testable import UpperLayer

@Suite("A sparse layer after crashes")
struct SparseCrashTests {
  @Test("Whatever operation of the disk is the last one, or fails, the rules hold")
  func everyOperation() {
    var cuts = 0
    for seed in CrashTests.seeds(15, "every operation, sparse") {
      for kind in 0..<4 {
        var number = 1
        while true {
          let run = SparseRun(seed: seed, variant: UInt64(kind))
          let fault: CrashDisk.Fault =
            switch kind {
            case 0, 1: .stop
            case 2: .error(.ioError)
            default: .error(.noSpace)
            }
          run.run(steps: 24, fault: (number, fault), losesPower: kind != 1)
          if let failure = run.failure {
            let place = "fault \(kind) at operation \(number), \(run.disk.faultyOperation)"
            Issue.record("WARMBLK_SEED=\(seed) \(place): \(failure)")
            return
          }
          cuts += run.powerCuts + run.kills
          if run.disk.faultyOperation == "none" { break }
          number += 1
        }
      }
    }
    print("every operation, sparse: \(cuts) power cuts and kills")
  }

  @Test("Long random runs with many crashes keep the rules")
  func randomRuns() {
    var cuts = 0
    var copies = 0
    var meetings = 0
    for seed in CrashTests.seeds(150, "random runs, sparse") {
      let run = SparseRun(seed: seed)
      run.run(steps: 200, fault: nil, losesPower: true)
      if let failure = run.failure {
        Issue.record("WARMBLK_SEED=\(seed): \(failure)")
        return
      }
      cuts += run.powerCuts + run.kills
      copies += run.copies
      meetings += run.meetings
    }
    print(
      "random runs, sparse: \(cuts) power cuts and kills, \(copies) copies, \(meetings) with another write in between")
    #expect(copies > 10 && meetings > 0)
  }

  @Test("Whatever operation of sealing is the last one, or fails, the layer is writable or sealed, with all in it")
  func everySealing() {
    var sealed = 0
    var writable = 0
    for seed in CrashTests.seeds(30, "every sealing, sparse") {
      for kind in 0..<8 {
        var number = 1
        while true {
          let run = SparseRun(seed: seed, variant: UInt64(kind))
          let fault: CrashDisk.Fault = kind > 2 ? .stop : .error(kind == 2 ? .ioError : .noSpace)
          let isSealed = run.seal(fault: (number, fault), losesPower: kind != 3)
          if let failure = run.failure {
            let place = "fault \(kind) at operation \(number), \(run.disk.faultyOperation)"
            Issue.record("WARMBLK_SEED=\(seed) \(place): \(failure)")
            return
          }
          if isSealed { sealed += 1 } else { writable += 1 }
          if run.disk.faultyOperation == "none" { break }
          number += 1
        }
      }
    }
    #expect(sealed > 0 && writable > 0)
    print("every sealing, sparse: \(sealed) sealed, \(writable) writable")
  }
}
