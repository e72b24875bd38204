import Foundation
import Posix
import TestSupport
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
    for seed in Self.seeds(10, "every operation") {
      for kind in 0..<5 {
        var number = 1
        while true {
          var run = try CrashRun(seed: seed)
          let fault: CrashDisk.Fault =
            switch kind {
            case 0, 1: .stop
            case 2: .error(.ioError)
            case 3: .error(.noSpace)
            default: .error(.quota)
            }
          run.run(steps: 24, fault: (number, fault), losesPower: kind != 1)
          if let failure = run.failure {
            let place = "fault \(kind) at operation \(number), \(run.disk.faultyOperation)"
            Issue.record("WARMBLK_SEED=\(seed) \(place): \(failure)")
            return
          }
          cuts += run.powerCuts + run.kills
          if number > run.disk.operations { break }
          number += 1
        }
      }
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
    for seed in Self.seeds(20, "every sealing") {
      // Most of them with a power loss at that operation.
      for kind in 0..<8 {
        var number = 1
        while true {
          var run = try CrashRun(seed: seed, variant: UInt64(kind))
          run.prepare(steps: 12)
          let before = run.disk.operations
          let fault: CrashDisk.Fault = kind > 2 ? .stop : .error(kind == 2 ? .ioError : .noSpace)
          let isSealed = run.seal(fault: (before + number, fault), losesPower: kind != 3)
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
    print("every sealing: \(sealed) sealed, \(writable) writable")
  }

  @Test(
    "Whatever operation of a growth is the last one, or fails, the device is as it was or larger, and shows nothing below"
  )
  func everyGrowth() throws {
    var grown = 0
    var same = 0
    for seed in Self.seeds(10, "every growth") {
      for kind in 0..<4 {
        var number = 1
        while true {
          var run = try CrashRun(seed: seed, variant: UInt64(kind))
          run.prepare(steps: 12)
          let before = run.disk.operations
          let fault: CrashDisk.Fault = kind == 0 ? .error(.ioError) : .stop
          if run.grow(fault: (before + number, fault), losesPower: kind != 1) { grown += 1 } else { same += 1 }
          if let failure = run.failure {
            let place = "fault \(kind) at operation \(number), \(run.disk.faultyOperation)"
            Issue.record("WARMBLK_SEED=\(seed) \(place): \(failure)")
            return
          }
          if run.disk.faultyOperation == "none" { break }
          number += 1
        }
      }
    }
    #expect(grown > 0 && same > 0)
    print("every growth: \(grown) grown, \(same) as they were")
  }
}
