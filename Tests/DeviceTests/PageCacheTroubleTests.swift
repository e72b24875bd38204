import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  /// A page cache that is being filled by reads that do not end, because the registry is away.
  @Suite("Devices whose page cache cannot be filled")
  struct PageCacheTroubleTests {
    private let sample: RemoteSample
    private let registry: Registry
    private let scratch: Scratch
    private let config: String

    /// The registry is stopped, and the cache has what opening the layer takes and no more. The trace names next to nothing of
    /// the layer and much of the disk, so that nothing is fetched before the page cache is filled.
    init() throws {
      registry = try RemoteSample.registry()
      sample = try RemoteSample.lz4()
      scratch = try Scratch()
      config = try sample.config(scratch)
      let layer = TraceLayer(
        identity: sample.layers[0].digest, size: UInt64(sample.layers[0].size), isCompressed: true)
      let size = UInt64(try sample.content().count)
      let trace = AccessTrace(
        imageName: "", deviceSize: size, layers: [layer],
        accesses: [TraceAccess(microseconds: 0, device: 0..<size, layer: 0, stored: 0..<512)])
      try scratch.write("trace", try trace.encoded())
      let (disk, _) = try Warmblk.warm(config, "--cache", scratch("cache"), "--trace", scratch("trace"), "--warm=wait")
      try Warmblk.del(disk)
      try registry.stop()
    }

    private func add(_ words: String...) throws -> (disk: Disk, outcome: Outcome) {
      let outcome = try Warmblk.start(
        [
          "add", "--config", config, "--cache", scratch("cache"), "--trace", scratch("trace"), "--warm-into",
          "page-cache",
        ]
          + words
      ).wait(seconds: 60)
      try #require(outcome.succeeded, "\(outcome)")
      return (Disk(id: 0), outcome)
    }

    /// A device whose filling waits for ever.
    private func addWaiting() throws -> Disk {
      let disk = try add("--on-timeout", "wait", "--io-timeout", "1", "--no-watch").disk
      let isReading = Deadline(milliseconds: 10_000).wait(interval: 20) {
        disk.attribute("inflight").split(separator: " ").first.map { $0 != "0" } ?? false
      }
      try #require(isReading)
      let warm = try Warmblk.warmth(disk) { $0.pageCache?.isHeld ?? false }
      #expect(warm.state == "warming", "\(warm)")
      return disk
    }

    @Test("are taken away while a read of it waits, and leave nothing", arguments: [false, true])
    func removed(_ isForced: Bool) throws {
      let disk = try addWaiting()
      let outcome = try Warmblk.start(["del", "-n", "\(disk.id)"] + (isForced ? ["--force"] : [])).wait(seconds: 45)
      #expect(outcome.succeeded && outcome.seconds < 10, "\(outcome)")
      #expect(isForced || outcome.errors.contains("a read does not end"), "\(outcome)")
      print("taken away while it is filled\(isForced ? ", by force" : ""): \(outcome.seconds) s")
    }

    @Test("end with a server that is told to, or killed, while a read of it waits", arguments: [SIGTERM, SIGKILL])
    func signalled(_ signal: Int32) throws {
      let disk = try addWaiting()
      let server = try #require(try Warmblk.row(disk).pid)
      let began = monotonicNanoseconds()
      kill(server, signal)
      let limit = Guest.noticesDeathAtOnce || signal == SIGTERM ? 8000 : 35_000
      // A read of a disk that has lost its server waits for the next one, which nobody starts here.
      if signal == SIGKILL { try Warmblk.del(disk, "--timeout", "40", seconds: 60) }
      #expect(Deadline(milliseconds: limit).wait(interval: 10) { !fileExists(disk.path) && Guest.servers().isEmpty })
      print("signal \(signal): all of it was gone after \(Double(monotonicNanoseconds() - began) / 1e9) s")
    }

    @Test("go on with the next server when theirs is killed while a read of it waits")
    func recovered() throws {
      let disk = try addWaiting()
      let reading = try #require(Guest.holders().first)
      kill(try #require(try Warmblk.row(disk).pid), SIGKILL)
      try need(Guest.binary, "recover", "-n", "\(disk.id)", "--timeout", "60", seconds: 70)
      _ = try Warmblk.warmth(disk) { $0.state == "held" }
      // The process that waits in a read has nobody to tell it, and goes once that is answered; the next one holds the disk.
      #expect(Guest.holders().count == 2 && Guest.holders().contains(reading), "\(Guest.holders())")
      try registry.start()
      let isAlone = Deadline(milliseconds: 30_000).wait(interval: 20) {
        Guest.holders().count == 1 && !Guest.holders().contains(reading)
      }
      #expect(isAlone, "\(Guest.holders())")
      try disk.reading(direct: true) { try $0.compare(with: sample.content(), "after the death") }
      try Warmblk.del(disk)
    }

    @Test("are handed over after the deadline, and filled when the registry is back")
    func deadline() throws {
      let (disk, outcome) = try add(
        "--on-timeout", "wait", "--io-timeout", "1", "--warm=wait", "--warm-deadline", "2s")
      #expect((1.9..<6).contains(outcome.seconds), "\(outcome)")
      let early = try Warmblk.warmth(disk)
      #expect(early.state == "warming" && early.pageCache?.isHeld ?? false, "\(early)")
      try registry.start()
      let late = try Warmblk.warmth(disk, seconds: 30) { $0.state == "warm" }
      #expect(late.pageCache?.filledBytes == late.pageCache?.wantedBytes && late.trouble == nil, "\(late)")
      try Warmblk.del(disk)
    }

    @Test("are handed over when reads fail, and say so")
    func failing() throws {
      let (disk, outcome) = try add("--on-timeout", "fail", "--io-timeout", "1", "--warm=wait")
      #expect(outcome.errors.contains("cannot be read") && outcome.seconds < 20, "\(outcome)")
      let warm = try Warmblk.warmth(disk) { $0.state == "incomplete" }
      #expect(warm.trouble?.contains("page cache") ?? false, "\(warm)")
      // Four reads failed one after the other, and the rest was left.
      let pages = try #require(warm.pageCache)
      #expect(pages.failedBytes == 512 << 10 && pages.filledBytes < 4 << 20, "\(pages)")
      try Warmblk.del(disk)
      try registry.start()
    }
  }
}
