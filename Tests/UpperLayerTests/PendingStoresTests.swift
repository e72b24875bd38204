import Testing

@testable import UpperLayer

// Stores are seen only on processors that can stop a program behind each.
#if arch(x86_64)
  @Suite("The log of pending entries, killed between two stores")
  struct PendingStoresTests {
    @Test("Wherever a server is killed, an entry is wholly in the log or wholly not, and nothing else is hurt")
    func everyStore() throws {
      var states = 0
      var published = 0
      var replayed: UInt64 = 0
      for seed in CrashTests.seeds(6, "every store") {
        let run = try PendingStoresRun(seed: seed)
        try run.run(steps: 120)
        if let failure = run.failure {
          Issue.record("WARMBLK_SEED=\(seed): \(failure)")
          return
        }
        states += run.states
        published += run.published
        replayed = max(replayed, run.replayedMax)
      }
      print("every store: \(states) logs, \(published) entries")
      #expect(states > 3 * published && published > 500 && replayed > 10)
    }

    @Test("Wherever a server is killed that takes the log of another boot, nothing of that counts")
    func everyStoreOfAReset() throws {
      var former = CrashRun.identity
      for seed in CrashTests.seeds(2, "every store of a reset") {
        let run = try PendingStoresRun(seed: seed)
        try run.run(steps: 20)
        for change in 0..<3 {
          former = CrashRun.identity
          switch change {
          case 0: former.boot = Array(repeating: 8, count: 16)
          case 1: former.uuid = otherUUID
          default: former.birthNanoseconds += 1
          }
          try run.reset(from: former)
        }
        if let failure = run.failure { Issue.record("WARMBLK_SEED=\(seed): \(failure)") }
      }
    }
  }
#endif
