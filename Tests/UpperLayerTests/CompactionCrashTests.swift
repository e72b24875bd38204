import Testing

@testable import UpperLayer

@Suite("Compaction and crashes")
struct CompactionCrashTests {
  @Test("Whatever operation of a disk that is compacted often is the last one, or fails, the rules hold")
  func everyOperation() throws {
    var freedBytes: UInt64 = 0
    try sweep(CrashTests.seeds(3, "crashes of compactions"), Trouble.ofAnyOperation) { seed, _, trouble, number in
      var run = try CrashRun(seed: seed, compactsOften: true)
      run.run(steps: 24, fault: (number, trouble.fault), losesPower: trouble.losesPower)
      freedBytes += run.freedBytes
      return Ending(
        failure: run.failure, operation: run.disk.faultyOperation, isLast: number > run.disk.operations)
    }
    #expect(freedBytes > 1 << 20)
  }
}
