import Glibc
import Posix
import Testing

extension OnDevice {
  @Suite("Prefetch and a registry that goes away")
  struct WarmOutageTests {
    private static let mebi = 1 << 20

    /// Whether the first bytes of the disk are those of the image.
    private func check(_ disk: Disk, _ sample: RemoteSample, _ bytes: Int) throws {
      #expect(try run("cmp", "-n", "\(bytes)", sample.raw, disk.path).succeeded)
    }

    @Test("that is away at the start: reads follow the policy, little is asked, and all of it comes when it is back")
    func awayAtStart() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let scratch = try Scratch(.tmpfs)
      let config = try sample.config(scratch)
      let wanted = 8 * Self.mebi
      let trace = try scratch.write("reads", "0 \(wanted)\n")
      // What opening the layer needs stays in the cache.
      for policy in ["fail", "wait"] { try Warmblk.del(try Warmblk.add(config, "--cache", scratch(policy))) }
      try registry.stop()
      let began = monotonicNanoseconds()
      let disks = try ["fail", "wait"].map { policy in
        try Warmblk.addWarned(
          config, "--cache", scratch(policy), "--io-timeout", "1", "--on-timeout", policy, "--trace", trace,
          "--warm=background")
      }
      let failure = try disks[0].reading(direct: true) { $0.failure(4096, at: UInt64(50 * Self.mebi)) }
      #expect(failure == .ioError)
      let reader = try Program([
        "dd", "if=\(disks[1].path)", "of=/dev/null", "bs=4k", "skip=\(50 * 256)", "count=1", "iflag=direct",
        "status=none",
      ])
      for disk in disks {
        let warm = try Warmblk.warmth(disk) { $0.failedBytes > 0 && $0.trouble != nil }
        #expect(
          warm.state == "warming" && warm.fetchedBytes == 0 && warm.trouble!.contains("127.0.0.1:5000"), "\(warm)")
      }
      // Somebody in its place who has nothing, and counts.
      let ill = try WebServer(port: registry.port, in: scratch, "location / { return 503; }")
      usleep(3_000_000)
      let asked = ill.requests.count
      ill.stop()
      #expect(reader.isRunning)
      let (_, requests) = try registry.requests {
        try registry.start()
        for disk in disks {
          let warm = try Warmblk.warmth(disk, seconds: 40) { $0.state == "warm" }
          #expect(warm.failedBytes == 0 && warm.fetchedBytes + warm.residentBytes == warm.wantedBytes, "\(warm)")
        }
      }
      let seconds = Double(monotonicNanoseconds() - began) / 1e9
      print("away: \(asked) requests in 3 s of errors, \(requests.count) after, warm after \(seconds) s")
      #expect(asked > 0 && asked < 60, "\(asked) requests in 3 s")
      #expect(requests.count <= 60 && requests.allSatisfy { $0.status == 206 }, "\(requests)")
      #expect(requests.reduce(0) { $0 + $1.bytes } < 2 * wanted * 5 / 4, "\(requests)")
      #expect(try reader.wait(seconds: 10).succeeded)
      for (number, disk) in disks.enumerated() {
        #expect((try Warmblk.row(disk).errors == 0) == (number == 1))
        try check(disk, sample, wanted)
        try Warmblk.del(disk)
      }
    }

    @Test(
      "that dies or falls silent while a device is waited for: the deadline holds, what failed is told, and the rest comes later",
      arguments: ["dies", "is silent"])
    func inTheMiddle(_ how: String) throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let scratch = try Scratch(.tmpfs)
      let wanted = 12 * Self.mebi
      let trace = try scratch.write("reads", "0 \(wanted)\n")
      let add = try Warmblk.start([
        "add", "--config", try sample.config(scratch), "--cache", scratch("cache"), "--trace", trace, "--warm=wait",
        "--prefetch-rate", "4M", "--warm-deadline", "3s", "--io-timeout", how == "dies" ? "1" : "30",
      ])
      let disk = Disk(id: 0)
      try #require(
        Deadline(milliseconds: 10_000).wait(interval: 20) {
          (try? Warmblk.list())?.first?.warm.map { $0.fetchedBytes >= UInt64(Self.mebi) } ?? false
        })
      if how == "dies" { try registry.stop() } else { registry.pause() }
      defer { registry.goOn() }
      let outcome = try add.wait(seconds: 20)
      // The time runs once there is a disk; what is asked for may take far longer.
      #expect(outcome.succeeded && outcome.seconds < 9, "\(outcome)")
      #expect(outcome.errors.contains(" so far"), "\(outcome)")
      if how == "dies" {
        #expect(outcome.errors.contains("failed: ") && outcome.errors.contains("127.0.0.1:5000"), "\(outcome)")
      } else {
        #expect(outcome.seconds > 2.9, "\(outcome)")
      }
      let stopped = try Warmblk.warmth(disk)
      #expect(stopped.state == "warming" && stopped.fetchedBytes < stopped.wantedBytes, "\(stopped)")
      let (warm, requests) = try registry.requests {
        if how == "dies" { try registry.start() } else { registry.goOn() }
        return try Warmblk.warmth(disk, seconds: 40) { $0.state == "warm" }
      }
      #expect(warm.failedBytes == 0 && warm.fetchedBytes + warm.residentBytes == warm.wantedBytes, "\(warm)")
      print("\(how): add after \(outcome.seconds) s: \(outcome.errors)\(requests.count) requests afterwards, \(warm)")
      #expect(requests.count <= 40 && warm.requests <= 100, "\(requests), \(warm)")
      let (_, replay) = try registry.requests { try check(disk, sample, wanted) }
      #expect(replay.reduce(0) { $0 + $1.bytes } < 2 * Self.mebi, "\(replay)")
      #expect(try Warmblk.row(disk).errors == 0)
      try Warmblk.del(disk)
    }
  }
}
