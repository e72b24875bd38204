import Foundation
import Testing

@testable import UpperLayer

@Suite("A writable layer after crashes")
struct CrashTests {
  /// The seeds of a random test: some from the clock, or only the one that `WARMBLK_SEED` names.
  static func seeds(_ count: UInt64, _ what: String) -> [UInt64] {
    if let text = ProcessInfo.processInfo.environment["WARMBLK_SEED"], let seed = UInt64(text) { return [seed] }
    let first = UInt64(time(nil)) &* 1000
    print("\(what): seeds from \(first)")
    return (0..<count).map { first + $0 }
  }

  @Test("Whatever operation of the disk is the last one, or fails, the rules hold")
  func everyOperation() throws {
    var cuts = 0
    let troubles = Trouble.ofAnyOperation + [Trouble(fault: .error(.quota))]
    try sweep(Self.seeds(10, "every operation"), troubles) { seed, _, trouble, number in
      var run = try CrashRun(seed: seed)
      run.run(steps: 24, fault: (number, trouble.fault), losesPower: trouble.losesPower)
      cuts += run.powerCuts + run.kills
      return Ending(
        failure: run.failure, operation: run.disk.faultyOperation, isLast: number > run.disk.operations)
    }
    print("every operation: \(cuts) power cuts and kills")
  }

  @Test("Long random runs with many crashes keep the rules")
  func randomRuns() throws {
    var cuts = 0
    var freedBytes: UInt64 = 0
    for seed in Self.seeds(100, "random runs") {
      var run = try CrashRun(seed: seed)
      run.run(steps: 200, fault: nil, losesPower: true)
      if let failure = run.failure {
        Issue.record("WARMBLK_SEED=\(seed): \(failure)")
        return
      }
      cuts += run.powerCuts + run.kills
      freedBytes += run.freedBytes
    }
    print("random runs: \(cuts) power cuts and kills, \(freedBytes) bytes given back")
    #expect(freedBytes > 1 << 20)
  }

  @Test("Whatever operation of sealing is the last one, or fails, the layer is writable or sealed, with all in it")
  func everySealing() throws {
    var sealed = 0
    var writable = 0
    try sweep(Self.seeds(20, "every sealing"), Trouble.ofSealing) { seed, kind, trouble, number in
      var run = try CrashRun(seed: seed, variant: UInt64(kind))
      run.prepare(steps: 12)
      let place = run.disk.operations + number
      if run.seal(fault: (place, trouble.fault), losesPower: trouble.losesPower) { sealed += 1 } else { writable += 1 }
      return run.ending
    }
    #expect(sealed > 0 && writable > 0)
    print("every sealing: \(sealed) sealed, \(writable) writable")
  }

  @Test(
    "Whatever operation of a growth is the last one, or fails, the device is as it was or larger, and shows nothing below"
  )
  func everyGrowth() throws {
    var grown = 0
    var same = 0
    let troubles = [
      Trouble(fault: .error(.ioError)), Trouble(fault: .stop, losesPower: false), Trouble(fault: .stop),
      Trouble(fault: .stop),
    ]
    try sweep(Self.seeds(10, "every growth"), troubles) { seed, kind, trouble, number in
      var run = try CrashRun(seed: seed, variant: UInt64(kind))
      run.prepare(steps: 12)
      let place = run.disk.operations + number
      if run.grow(fault: (place, trouble.fault), losesPower: trouble.losesPower) { grown += 1 } else { same += 1 }
      return run.ending
    }
    #expect(grown > 0 && same > 0)
    print("every growth: \(grown) grown, \(same) as they were")
  }
}

extension CrashRun {
  /// How it ended, where one whose fault was not reached is the last.
  fileprivate var ending: Ending {
    Ending(failure: failure, operation: disk.faultyOperation, isLast: disk.faultyOperation == "none")
  }
}
