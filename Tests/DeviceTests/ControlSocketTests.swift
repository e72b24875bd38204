import CLinux
import Glibc
import Posix
import Testing

extension OnDevice {
  /// The socket where a server listens, and those who do not know how to talk.
  struct ControlSocketTests {
    private func connect(_ disk: Disk) throws -> Descriptor {
      let socket = Descriptor(
        owning: Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      let path = "/run/warmblk/\(disk.id).sock"
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
      let length = socklen_t(MemoryLayout<sa_family_t>.size + path.utf8.count)
      let result = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(socket.rawValue, $0, length) }
      }
      try #require(result == 0, "connect: \(Errno.last)")
      return socket
    }

    /// What comes until the server hangs up or a line is whole.
    private func line(_ socket: borrowing Descriptor, seconds: Int32) -> String {
      var text = ""
      var entry = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
      while !text.hasSuffix("\n"), poll(&entry, 1, seconds * 1000) == 1 {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = Glibc.read(socket.rawValue, &bytes, bytes.count)
        if count <= 0 { break }
        text += String(decoding: bytes[..<count], as: UTF8.self)
      }
      return text
    }

    private func send(_ text: String, _ socket: borrowing Descriptor) {
      var text = text
      text.withUTF8 { _ = Glibc.send(socket.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    @Test("is for root, answers nonsense with what it knows, and is not kept busy by those who say nothing")
    func badPeers() throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(try Sample.image(.lz4))
      var status = stat()
      #expect(lstat("/run/warmblk/\(disk.id).sock", &status) == 0 && status.st_mode & 0o777 == 0o600)
      let first = try connect(disk)
      for nonsense in ["{\"reboot\":{}}\n", "\n", "{\"startRecording\":{\"plan\":{}}}\n", "\u{0}\u{1}\n"] {
        send(nonsense, first)
        #expect(line(first, seconds: 10).contains("stopRecording"))
      }
      send(#"{"startRecording":{"plan":{"name":"t","path":"/t","form":"warmblk","bytesMax":1000000}}}"# + "\n", first)
      #expect(line(first, seconds: 10).contains("did not come along"))
      send("{\"stopRecording\":{}}\n{\"stopRecording\":{}}\n", first)
      #expect(line(first, seconds: 10).contains("nothing of"))
      // More silent peers than are served at a time; a command waits for them no longer than they are kept.
      var silent: [Int32] = []
      for _ in 0..<12 {
        let socket = try connect(disk)
        send("{\"stop", socket)
        silent.append(socket.release())
      }
      let began = monotonicNanoseconds()
      try Warmblk.startRecording(disk, scratch("t"))
      #expect(monotonicNanoseconds() - began < 15_000_000_000)
      try disk.reading(direct: true) { try $0.compare(with: try Sample.content(), whole: false, "beside bad peers") }
      for socket in silent { close(socket) }
      let endless = try connect(disk)
      for _ in 0..<64 { send(String(repeating: "x", count: 4096), endless) }
      #expect(line(endless, seconds: 10).isEmpty)
      #expect(try Warmblk.stopRecording(disk).lost == 0)
      try Warmblk.del(disk)
      #expect(!fileExists("/run/warmblk/\(disk.id).sock"))
    }

    @Test("stats has requests and their times, of all and of each second")
    func stats() throws {
      struct Statistics: Decodable {
        struct Latency: Decodable { var requests: UInt64, p50: UInt64?, p99: UInt64?, p999: UInt64?, max: UInt64? }
        var requests: UInt64, bytes: UInt64, errors: UInt64, local: Latency, network: Latency
      }
      let disk = try Warmblk.add(try Sample.image(.lz4))
      let watch = try Warmblk.start(["stats", "-n", "\(disk.id)", "--watch"])
      let before: Statistics = try Warmblk.decoded(try Warmblk.run("stats", "-n", "\(disk.id)", "--json").output)
      try need("dd", "if=\(disk.path)", "of=/dev/null", "bs=4k", "count=300", "iflag=direct", "status=none")
      let after: Statistics = try Warmblk.decoded(try Warmblk.run("stats", "-n", "\(disk.id)", "--json").output)
      #expect(after.requests - before.requests == 300 && after.bytes - before.bytes == 300 * 4096 && after.errors == 0)
      #expect(
        after.local.requests - before.local.requests == 300 && after.network.requests == 0 && after.network.p50 == nil)
      let p50 = try #require(after.local.p50)
      #expect(p50 >= 256 && p50 <= after.local.p99 ?? 0 && after.local.p99 ?? 0 <= after.local.p999 ?? 0)
      #expect(after.local.p999 ?? 0 <= after.local.max ?? 0 && after.local.max ?? 0 < 60_000_000_000)
      let table = try Warmblk.run("stats", "-n", "\(disk.id)")
      #expect(
        table.succeeded && table.output.contains("reads served here") && !table.output.contains("writes")
          && table.output.contains("P99.9"), "\(table)")
      usleep(1_500_000)
      try Warmblk.del(disk)
      let watched = try watch.wait(seconds: 10)
      #expect(watched.succeeded, "\(watched)")
      let lines = watched.output.split(separator: "\n").map { $0.split(separator: " ") }
      #expect(
        lines.first?.first == "SECOND" && lines.dropFirst().contains { $0.count > 3 && (Int($0[1]) ?? 0) > 0 },
        "\(watched)")
      #expect(try Warmblk.run("stats", "-n", "\(disk.id)").errors.contains("there is no device"))
    }

    @Test(
      "stats and metrics have the times of a writable disk's writes and flushes, and a new server goes on with them")
    func writeTimes() throws {
      struct Statistics: Decodable {
        struct Latency: Decodable { var requests: UInt64, p50: UInt64?, max: UInt64? }
        var local: Latency, write: Latency?, flush: Latency?, flushes: UInt64?
      }
      func statistics(_ disk: Disk) throws -> Statistics {
        try Warmblk.decoded(try Warmblk.run("stats", "-n", "\(disk.id)", "--json").output)
      }
      let image = try WritableImage(.ext4, "--size", "32M")
      let disk = try Warmblk.add(image.config)
      let watch = try Warmblk.start(["stats", "-n", "\(disk.id)", "--watch"])
      let before = try statistics(disk)
      let writes = try #require(before.write).requests
      try need(
        "dd", "if=/dev/zero", "of=\(disk.path)", "bs=4k", "count=200", "oflag=direct", "conv=fsync", "status=none")
      let after = try statistics(disk)
      let (write, flush) = (try #require(after.write), try #require(after.flush))
      #expect(write.requests - writes == 200 && flush.requests > 0 && flush.requests <= after.flushes ?? 0)
      for latency in [write, flush] {
        let p50 = try #require(latency.p50)
        #expect(p50 >= 256 && p50 <= latency.max ?? 0 && latency.max ?? .max < 60_000_000_000)
      }
      let table = try Warmblk.run("stats", "-n", "\(disk.id)")
      #expect(table.output.contains("\nwrites ") && table.output.contains("\nflushes "), "\(table)")
      let metrics = try Warmblk.run("metrics")
      let labels = "{device=\"\(disk.id)\",image=\"\(image.config)\"}"
      #expect(metrics.output.contains("warmblk_write_seconds_count\(labels) \(write.requests)\n"), "\(metrics)")
      usleep(1_500_000)
      #expect(try Warmblk.start(["upgrade", "-n", "\(disk.id)"]).wait(seconds: 60).succeeded)
      #expect(try statistics(disk).write?.requests ?? 0 >= write.requests)
      try Warmblk.del(disk)
      let watched = try watch.wait(seconds: 10)
      let head = watched.output.split(separator: "\n").first ?? ""
      #expect(watched.succeeded && head.contains("WRITES") && head.contains("FLUSHES"), "\(watched)")
    }
  }
}
