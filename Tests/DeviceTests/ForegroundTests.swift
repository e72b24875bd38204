import CLinux
import Glibc
import Posix
import Testing

extension OnDevice {
  struct ForegroundTests {
    @Test("serve tells its supervisor when the disk can be used, and takes it away on SIGTERM")
    func readiness() throws {
      let scratch = try Scratch(.tmpfs)
      let socket = try Supervisor(scratch("notify"))
      let server = try Warmblk.start(
        ["serve", "--config", try Sample.image(.lz4), "--id", "3"],
        variables: ["NOTIFY_SOCKET=\(scratch("notify"))"])
      let message = try socket.next(seconds: 30)
      let lines = message.split(separator: "\n")
      #expect(
        lines.contains("READY=1") && lines.contains { $0.hasPrefix("STATUS=") && $0.contains("/dev/ublkb3") })
      let content = try Sample.content()
      try Disk(id: 3).reading(direct: true) {
        try $0.compare(with: content, whole: false, "once it is ready")
      }
      #expect(try Warmblk.row(Disk(id: 3)).pid == server.pid)
      let began = monotonicNanoseconds()
      server.signal(SIGTERM)
      #expect(try socket.next(seconds: 10).contains("STOPPING=1"))
      let outcome = try server.wait(seconds: 5)
      #expect(outcome.succeeded && outcome.output == "/dev/ublkb3\n", "\(outcome)")
      #expect(monotonicNanoseconds() - began < 5_000_000_000)
      #expect(LeavingNothing.leftovers.isEmpty)
    }

    @Test("a second signal ends a server that waits for its disk's user; del does the rest")
    func secondSignal() throws {
      let server = try Warmblk.start(["serve", "--config", try Sample.image(.none), "--id", "4"])
      let disk = Disk(id: 4)
      try #require(Deadline(milliseconds: 30_000).wait { (try? server.printed()) == "\(disk.path)\n" })
      let holder = try Program(["sh", "-c", "exec 3<\(disk.path); exec sleep 60"])
      try #require(
        Deadline(milliseconds: 10_000).wait { fileExists("/proc/\(holder.pid)/fd/3") && holder.isRunning })
      server.signal(SIGTERM)
      #expect(Deadline(milliseconds: 5000).wait { !fileExists(disk.path) })
      server.signal(SIGINT)
      #expect(!(try server.wait(seconds: 3).wasLate))
      holder.signal(SIGKILL)
      try holder.wait(seconds: 5)
      if !LeavingNothing.leftovers.isEmpty {
        let outcome = try Warmblk.run("del", "--all")
        #expect(outcome.succeeded, "\(outcome)")
      }
    }

    @Test("serve on a configuration that cannot be served fails like add")
    func failure() throws {
      let outcome = try Warmblk.run("serve", "--config", "/absent.json")
      #expect(
        outcome.status == 1 && outcome.errors.contains("/absent.json") && outcome.output.isEmpty, "\(outcome)"
      )
    }
  }

  /// A socket as systemd listens on.
  private struct Supervisor: ~Copyable {
    private let descriptor: Descriptor

    init(_ path: String) throws {
      descriptor = Descriptor(
        owning: socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
      let length = socklen_t(MemoryLayout<sockaddr_un>.size)
      let result = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor.rawValue, $0, length) }
      }
      try #require(result == 0, "bind \(path): \(Errno.last)")
    }

    /// The next message.
    func next(seconds: Int32) throws -> String {
      var entry = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
      try #require(poll(&entry, 1, seconds * 1000) == 1, "no message within \(seconds) s")
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = recv(descriptor.rawValue, &bytes, bytes.count, 0)
      return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
    }
  }
}
