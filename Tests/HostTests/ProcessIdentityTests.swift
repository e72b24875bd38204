import Glibc
import Posix
import Testing

@testable import Host

@Suite("Processes")
struct ProcessIdentityTests {
  @Test("are read from /proc/PID/stat, whatever their name is")
  func parsing() throws {
    let tail = " S 1 10 10 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 3 0 98765 0 0"
    for name in ["warmblk", "a b", "((x)) y) S 1", ""] {
      let status = try #require(ProcessStatus(parsing: "42 (\(name))" + tail))
      #expect(status.name == name)
      #expect(status.state == "S")
      #expect(status.startTime == 98765)
    }
  }

  @Test("that are not a line of /proc/PID/stat are nil")
  func bad() {
    for line in [
      "", "42", "42 (x", "42 x) S 1", ")(", "42 (x) S 1 2 3",
      "42 (x) S" + String(repeating: " -1", count: 20),
    ] {
      #expect(ProcessStatus(parsing: line) == nil, "\(line)")
    }
  }

  @Test("are alive as themselves, and not when only their number is")
  func identity() throws {
    let own = try ProcessIdentity.current()
    #expect(own.isAlive)
    let other = ProcessIdentity(pid: own.pid, startTime: own.startTime + 1)
    #expect(!other.isAlive)
    #expect(try !other.signal(SIGKILL), "a signal for a former owner of the number must not be sent")
    #expect(other.waitForEnd(Deadline(milliseconds: 0)))
    #expect(!own.waitForEnd(Deadline(milliseconds: 0)))
  }
}
