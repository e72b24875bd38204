import Testing

@testable import UpperLayer

@Suite("A sparse layer after crashes")
struct SparseCrashTests {
  @Test("Whatever operation of the disk is the last one, or fails, the rules hold")
  func everyOperation() {
    var cuts = 0
    sweep(CrashTests.seeds(15, "every operation, sparse"), Trouble.ofAnyOperation) { seed, kind, trouble, number in
      let run = SparseRun(seed: seed, variant: UInt64(kind))
      run.run(steps: 24, fault: (number, trouble.fault), losesPower: trouble.losesPower)
      cuts += run.powerCuts + run.kills
      return run.ending
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
    sweep(CrashTests.seeds(30, "every sealing, sparse"), Trouble.ofSealing) { seed, kind, trouble, number in
      let run = SparseRun(seed: seed, variant: UInt64(kind))
      if run.seal(fault: (number, trouble.fault), losesPower: trouble.losesPower) { sealed += 1 } else { writable += 1 }
      return run.ending
    }
    #expect(sealed > 0 && writable > 0)
    print("every sealing, sparse: \(sealed) sealed, \(writable) writable")
  }
}

extension SparseRun {
  /// How it ended, where one whose fault was not reached is the last.
  fileprivate var ending: Ending {
    Ending(failure: failure, operation: disk.faultyOperation, isLast: disk.faultyOperation == "none")
  }
}
