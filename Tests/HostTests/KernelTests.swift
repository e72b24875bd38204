import Posix
import Testing
import Ublk

@testable import Host

@Suite("Kernels")
struct KernelTests {
  @Test("have three numbers, whatever follows them")
  func parsing() {
    #expect(KernelVersion(parsing: "7.3.4+deb14-amd64") == KernelVersion(7, 3, 4))
    #expect(KernelVersion(parsing: "6.19-rc2") == KernelVersion(6, 19, 0))
    #expect(KernelVersion(parsing: "6.12.95") == KernelVersion(6, 12, 95))
    #expect(KernelVersion(parsing: "6.8.0-51-generic") == KernelVersion(6, 8, 0))
    for text in ["", "6", "6.", "linux-6.1", ".6.1", "6.99999999999999999999"] {
      #expect(KernelVersion(parsing: text) == nil, "\(text)")
    }
    #expect(KernelVersion(6, 9, 30) < KernelVersion(6, 12, 1))
  }

  @Test("are told by what distributions hide in other places")
  func distributions() {
    #expect(
      KernelVersion(
        release: "6.1.0-40-amd64", version: "#1 SMP PREEMPT_DYNAMIC Debian 6.1.153-1 (2025-09-20)",
        signature: nil)
        == KernelVersion(6, 1, 153))
    #expect(
      KernelVersion(
        release: "6.8.0-51-generic", version: "#52-Ubuntu SMP",
        signature: "Ubuntu 6.8.0-51.52-generic 6.8.12\n")
        == KernelVersion(6, 8, 12))
    #expect(
      KernelVersion(release: "6.12.95+deb13-amd64", version: "#1 SMP Debian 6.12.95-1", signature: nil)
        == KernelVersion(6, 12, 95))
    #expect(KernelVersion(release: "weird", version: "", signature: nil) == nil)
  }

  @Test("that crash in ADD_DEV are refused, their neighbours are not")
  func refused() {
    func refuses(_ version: KernelVersion) -> Bool {
      KernelProblem.known(in: version).contains { $0.severity == .refuse }
    }
    for bad in [
      KernelVersion(5, 15, 190), KernelVersion(6, 1, 153), KernelVersion(6, 18, 4), KernelVersion(6, 18, 5),
    ] {
      #expect(refuses(bad), "\(bad)")
    }
    for good in [
      KernelVersion(6, 4), KernelVersion(6, 12, 95), KernelVersion(6, 17, 9), KernelVersion(6, 18, 3),
      KernelVersion(6, 18, 6), KernelVersion(7, 0, 10), KernelVersion(7, 3, 4), KernelVersion(8, 0),
    ] {
      #expect(!refuses(good), "\(good)")
    }
    #expect(KernelProblem.known(in: KernelVersion(7, 3, 4)).isEmpty)
    for problem in KernelProblem.table { #expect(problem.from < problem.until, "\(problem.effect)") }
  }

  @Test("fail or pass each check with what to do")
  func checks() {
    #expect(Check.kernel(release: "6.18.4", version: KernelVersion(6, 18, 4)).first?.status == .failed)
    #expect(
      Check.kernel(release: "7.3.4-x", version: KernelVersion(7, 3, 4)) == [Check("kernel", .ok, "7.3.4-x")])
    #expect(Check.kernel(release: "odd", version: nil).first?.status == .note)
    #expect(Check.driver(.loadable).remedy == "modprobe ublk_drv")
    #expect(Check.driver(.missing).status == .failed)
    #expect(
      Check.ring(RingFacts(disabled: 2, failure: .permission)).remedy == "sysctl kernel.io_uring_disabled=0")
    #expect(Check.ring(RingFacts(disabled: 0, failure: .permission)).found.contains("forbidden"))
    #expect(Check.ring(RingFacts(disabled: 1, failure: nil)).status == .ok)
    #expect(Check.user(1000).status == .failed)
    #expect(Check.control([.userCopy]).status == .failed)
    #expect(Check.control([.encodedCommands]).status == .ok)
    #expect(Check.descriptors(Limits(soft: 256, hard: 256)).status == .note)
    #expect(Check.lockedMemory(Limits(soft: 8 << 20, hard: 8 << 20), isRoot: true).status == .ok)
    #expect(Check.lockedMemory(Limits(soft: 8 << 20, hard: 8 << 20), isRoot: false).status == .note)
  }

  @Test("count ublks_max for all devices only where they do")
  func deviceLimit() {
    func status(_ version: KernelVersion?) -> Check.Status {
      Check.deviceLimit(64, limit: 64, version: version).status
    }
    #expect(status(KernelVersion(6, 8)) == .failed)
    #expect(status(KernelVersion(6, 12, 10)) == .failed)
    #expect(status(KernelVersion(6, 12, 95)) == .ok)
    #expect(status(KernelVersion(6, 14, 9)) == .failed)
    #expect(status(KernelVersion(7, 3, 4)) == .ok)
    #expect(status(nil) == .ok)
    #expect(Check.deviceLimit(63, limit: 64, version: KernelVersion(6, 8)).status == .ok)
  }

  @Test("explain each feature that they lack")
  func features() {
    let report = Diagnosis.report([.userCopy])
    #expect(report.count == featureTable.count)
    #expect(report.first { $0.name == "USER_COPY" }?.offered == true)
    #expect(report.first { $0.name == "AUTO_BUF_REG" }?.effect.hasPrefix("without it: ") == true)
    #expect(report.allSatisfy { !$0.effect.isEmpty })
  }
}
