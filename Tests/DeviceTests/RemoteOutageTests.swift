import Glibc
import Posix
import Testing

extension OnDevice {
  struct RemoteOutageTests {
    /// The registry is killed under a reader and comes back.
    @Test("with --on-timeout wait a registry that is away makes readers wait, and nothing else")
    func waiting() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let scratch = try Scratch(.tmpfs)
      let disk = try Warmblk.add(
        try sample.config(scratch), "--cache", scratch("cache"), "--on-timeout", "wait", "--io-timeout", "1")
      let reader = try Program([
        "fio", "--name=read", "--filename=\(disk.path)", "--rw=read", "--bs=64k", "--ioengine=io_uring", "--direct=1",
        "--iodepth=8", "--rate=24m", "--readonly", "--size=80m",
      ])
      let before = disk.reads
      try #require(Deadline(milliseconds: 20_000).wait(interval: 5) { disk.reads > before + 200 })
      try registry.stop()
      // Twice as long as reads may take with the other policy.
      usleep(3_000_000)
      let during = disk.reads
      #expect(reader.isRunning)
      let trouble = try Warmblk.row(disk).problem ?? ""
      #expect(trouble.contains("127.0.0.1:5000") && trouble.contains(sample.layers[0].digest), "\(trouble)")
      try registry.start()
      let outcome = try reader.wait(seconds: 60)
      #expect(outcome.succeeded, "\(outcome)")
      #expect(disk.reads > during + 200, "it had been read already: \(during) of \(disk.reads)")
      let row = try Warmblk.row(disk)
      #expect(row.errors == 0 && row.problem == nil, "\(row)")
      #expect(try run("cmp", sample.raw, disk.path).succeeded)
      try Warmblk.del(disk)
    }

    @Test(
      "with --io-timeout 2 a registry that is away or silent is an I/O error after two seconds, and is forgotten when it is back",
      arguments: ["away", "silent"])
    func failing(_ how: String) throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.plain()
      let content = try sample.content()
      let scratch = try Scratch()
      let local = try Warmblk.add(try Sample.image(.lz4))
      let disk = try Warmblk.add(try sample.config(scratch), "--cache", scratch("cache"), "--io-timeout", "2")
      if how == "away" { try registry.stop() } else { registry.pause() }
      let began = monotonicNanoseconds()
      let failure = try disk.reading(direct: true) { $0.failure(4096, at: UInt64(content.count / 8 / 4096 * 4096)) }
      let took = Double(monotonicNanoseconds() - began) / 1e9
      #expect(failure == .ioError && (1.9..<4).contains(took), "\(failure.map { "\($0)" } ?? "none") after \(took) s")
      print("\(how): an error after \(took) s")
      try local.reading(direct: true) { try $0.compare(with: content, "the other disk") }
      // The log is written once a second.
      let log = { Guest.text("/run/warmblk/\(disk.id).log") }
      let isNamed = Deadline(milliseconds: 5000).wait(interval: 50) {
        log().contains(sample.layers[0].digest) && log().contains("127.0.0.1:5000")
      }
      #expect(isNamed, "\(log())")
      if how == "away" { try registry.start() } else { registry.goOn() }
      let isBack = Deadline(milliseconds: 10_000).wait(interval: 100) {
        (try? disk.reading(direct: true) { $0.failure(4096, at: 4096) == nil }) ?? false
      }
      #expect(isBack)
      try disk.reading(direct: true) { try $0.compare(with: content, "after it is back") }
      #expect(try Warmblk.row(disk).errors ?? 0 > 0)
      try Warmblk.del(disk)
      try Warmblk.del(local)
    }

    @Test("del is quick while reads wait for a registry that is away")
    func removal() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.plain()
      let scratch = try Scratch()
      let disk = try Warmblk.add(try sample.config(scratch), "--cache", scratch("cache"), "--on-timeout", "wait")
      registry.pause()
      let reader = try Program(["dd", "if=\(disk.path)", "of=/dev/null", "bs=1M", "iflag=direct", "skip=3", "count=1"])
      try #require(
        Deadline(milliseconds: 5000).wait(interval: 10) { !disk.attribute("inflight").hasPrefix("       0") })
      usleep(300_000)
      #expect(reader.isRunning)
      let outcome = try Warmblk.run("del", "-n", "\(disk.id)", "--force")
      #expect(outcome.succeeded && outcome.seconds < 5, "\(outcome)")
      #expect(try reader.wait(seconds: 5).status == 1)
      #expect(!fileExists(disk.path) && Guest.servers().isEmpty)
    }
  }
}
