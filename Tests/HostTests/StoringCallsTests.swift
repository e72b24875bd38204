import Glibc
import Posix
import TestSupport
import Testing

@testable import Host

@Suite("What a server that ends is doing")
struct StoringCallsTests {
  @Test("is storing when one of its threads writes or synchronizes a file")
  func lines() {
    // Numbers of the machine that the test was built for.
    #if arch(x86_64)
      let (fdatasync, pwrite, enter) = (75, 18, 426)
    #else
      let (fdatasync, pwrite, enter) = (83, 68, 426)
    #endif
    #expect(StoringCalls.isOne("\(fdatasync) 0x1f 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f12\n"))
    #expect(StoringCalls.isOne("\(pwrite) 0x1f"))
    for line in ["\(enter) 0x3 0x1", "running\n", "-1 0x7ffd 0x7f12", "", "x", "99999999999999"] {
      #expect(!StoringCalls.isOne(line), "\(line)")
    }
  }

  @Test("is seen of a process that writes and cannot go on")
  func process() throws {
    let writer = try Spawn.start(["/bin/sh", "-c", "yes | sleep 5"], .session)
    defer {
      kill(-writer, SIGKILL)
      waitpid(writer, nil, 0)
    }
    #expect(!StoringCalls.isMaking(writer))
    let isSeen = Deadline(milliseconds: 5000).wait(interval: 10) {
      ((try? listDirectory("/proc")) ?? []).compactMap { Int32($0) }.contains {
        getsid($0) == writer && StoringCalls.isMaking($0)
      }
    }
    #expect(isSeen)
  }
}
