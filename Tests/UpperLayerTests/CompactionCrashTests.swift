import Foundation
import Posix
import TestSupport
import Testing

@testable import UpperLayer

@Suite("Compaction and crashes")
struct CompactionCrashTests {
  @Test("Whatever operation of a disk that is compacted often is the last one, or fails, the rules hold")
  func everyOperation() throws {
    var random = SplitMix.announced("crashes of compactions")
    var freedBytes: UInt64 = 0
    for _ in 0..<3 {
      let seed = random.next()
      for kind in 0..<4 {
        var number = 1
        while true {
          var run = try CrashRun(seed: seed, compactsOften: true)
          let fault: CrashDisk.Fault =
            switch kind {
            case 0, 1: .stop
            case 2: .error(.ioError)
            default: .error(.noSpace)
            }
          run.run(steps: 24, fault: (number, fault), losesPower: kind != 1)
          if let failure = run.failure {
            Issue.record("fault \(kind) at operation \(number), \(run.disk.faultyOperation): \(failure)")
            return
          }
          freedBytes += run.freedBytes
          if number > run.disk.operations { break }
          number += 1
        }
      }
    }
    #expect(freedBytes > 1 << 20)
  }
}
