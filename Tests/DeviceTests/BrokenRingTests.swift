import Posix
import Testing

extension OnDevice {
  struct BrokenRingTests {
    /// The thread of the disk's first queue.
    private func queueThread(_ disk: Disk, of server: Int32) throws -> String {
      let threads = try listDirectory("/proc/\(server)/task")
      return try #require(
        threads.first { Guest.text("/proc/\(server)/task/\($0)/comm") == "ublk\(disk.id)-q0\n" },
        "no thread of queue 0")
    }

    // 6.12's driver never lets go of the requests of a queue that broke alone: its disk, and with it every command to
    // the driver, waits until the next boot.
    @Test(
      "a queue whose ring the kernel refuses for ever ends its server with an error, and the next one goes on",
      .enabled(if: Guest.noticesDeathAtOnce, "this kernel's driver hangs when one queue of a server breaks"),
      arguments: ["EAGAIN", "EBUSY", "EBADF"])
    func refused(_ error: String) throws {
      let content = try Sample.content()
      let disk = try Warmblk.add(try Sample.image(.lz4), "--no-watch")
      let other = try Warmblk.add(try Sample.image(.none))
      let server = try #require(try Warmblk.row(disk).pid)
      let reader = try Reader(manyAtOnce: disk)
      let fault = try Program([
        "strace", "-qq", "-o", "/dev/null", "-e", "trace=io_uring_enter", "-e", "inject=io_uring_enter:error=\(error)",
        "-p", try queueThread(disk, of: server),
      ])
      let isGone = Deadline(milliseconds: 15_000).wait(interval: 20) { !Guest.servers().contains(server) }
      #expect(isGone, "the server is still there")
      try fault.wait(seconds: 5)
      let log = Guest.text("/run/warmblk/\(disk.id).log")
      #expect(log.contains("ring of queue 0") && log.contains("(\(error))"), "\(log)")
      #expect(try Warmblk.row(disk).state == "dead")
      #expect(try Warmblk.run("recover", "-n", "\(disk.id)").succeeded)
      try reader.stop(disk)
      try disk.reading(direct: true) { try $0.compare(with: content, "the disk with its new server") }
      try Warmblk.del(disk)
      try other.reading(direct: true) { try $0.compare(with: content, "the other disk") }
      try Warmblk.del(other)
    }
  }
}
