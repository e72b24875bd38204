import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  /// `add --trace --warm`.
  @Suite("Devices that are handed over warm")
  struct WarmTests {
    /// A trace of a start on a device of remote layers.
    private func record(_ sample: RemoteSample, _ reads: StartReads, _ scratch: Scratch) throws -> String {
      let disk = try Warmblk.add(
        try sample.config(scratch), "--cache", scratch("recording"), "--record", scratch("trace"))
      try reads.replay(disk, try sample.content())
      try Warmblk.del(disk)
      return scratch("trace")
    }

    @Test("what was recorded is here before the device is: the same start asks for nothing, and all of it are hits")
    func recorded() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let content = try sample.content()
      let scratch = try Scratch()
      let reads = StartReads(of: content.count)
      let trace = try record(sample, reads, scratch)
      let config = try sample.config(scratch)
      let ((disk, said), warming) = try registry.requests {
        try Warmblk.warm(config, "--cache", scratch("cache"), "--trace", trace, "--warm=wait")
      }
      #expect(said.hasPrefix("warm: ") && said.split(separator: "\n").count == 1, "\(said)")
      let (_, replay) = try registry.requests { try reads.replay(disk, content) }
      #expect(!warming.isEmpty && replay.isEmpty, "\(replay)")
      let chunks = try namedChunks(trace)
      let warm = try Warmblk.warmth(disk) { Int($0.hitChunks) > chunks - 64 }
      #expect(warm.state == "warm" && warm.fetchedBytes + warm.residentBytes == warm.wantedBytes, "\(warm)")
      #expect(
        warm.lateChunks == 0 && warm.failedChunks == 0 && warm.untracedChunks == 0 && warm.trouble == nil, "\(warm)")
      // Some were read when the layers were opened; gaps between ranges are fetched and not read.
      #expect(
        Int(warm.hitChunks) <= chunks && warm.hitChunks + warm.unreadChunks <= warm.wantedBytes / 1024 + 8, "\(warm)")
      #expect(Int(warm.unreadChunks) <= Int(warm.wantedBytes) / 1024 + 8 - chunks, "\(warm), \(chunks) named")
      try Warmblk.del(disk)
      // A second time everything is here, however little may be fetched a second.
      let ((again, _), nothing) = try registry.requests {
        try Warmblk.warm(
          config, "--cache", scratch("cache"), "--trace", trace, "--warm=wait", "--prefetch-rate", "1K")
      }
      let resident = try Warmblk.warmth(again)
      #expect(nothing.isEmpty && resident.fetchedBytes == 0 && resident.residentBytes == resident.wantedBytes)
      try Warmblk.del(again)
    }

    /// Chunks, of 1 KiB as stored, that a trace names.
    private func namedChunks(_ path: String) throws -> Int {
      var chunks: Set<[Int]> = []
      for access in try TraceFile(path).trace.accesses where !access.stored.isEmpty {
        for chunk in access.stored.lowerBound >> 10...(access.stored.upperBound - 1) >> 10 {
          chunks.insert([access.layer ?? -1, Int(chunk)])
        }
      }
      return chunks.count
    }

    @Test(
      "an image brings overlaybd's trace: in its acceleration layer, or at recordTracePath", arguments: [true, false])
    func ownTrace(_ isLayer: Bool) throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch()
      let reads = StartReads(of: try sample.content().count)
      try scratch.write("reads", reads.text)
      try makeDirectories(scratch("D"))
      try need(
        Guest.binary, "trace", "convert", scratch("reads"), "--to", "overlaybd", "--config", try sample.config(scratch),
        "--cache", scratch("other"), "-o", scratch("D/trace"))
      let more = isLayer ? #", "accelerationLayer": true"# : #", "recordTracePath": "\#(scratch("D/trace"))""#
      var text = Guest.text(try sample.config(scratch, "own.json", more: more))
      if isLayer { text.replace("}]", with: #"}, {"dir": "\#(scratch("D"))"}]"#) }
      let (disk, _) = try Warmblk.warm(
        try scratch.write("own.json", text), "--cache", scratch("cache"), "--warm")
      let (_, requests) = try registry.requests { try reads.replay(disk, try sample.content()) }
      #expect(requests.isEmpty, "\(requests)")
      #expect(try Warmblk.warmth(disk) { $0.hitChunks > 0 }.state == "warm")
      try Warmblk.del(disk)
    }

    @Test("--prefetch-rate takes its time, --warm-until and --warm-deadline end the wait before")
    func limits() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let scratch = try Scratch(.tmpfs)
      let config = try sample.config(scratch)
      let trace = try scratch.write("reads", "0 \(8 << 20)\n")
      for (words, seconds, share) in [
        ([], 1.7..<4.0, 100...100), (["--warm-until", "50%"], 0.7..<2.5, 50...75),
        (["--warm-deadline", "1s"], 0.9..<3.0, 10...75),
      ] as [([String], Range<Double>, ClosedRange<UInt64>)] {
        let cache = scratch("cache\(words.joined())")
        let outcome = try Warmblk.start(
          ["add", "--config", config, "--cache", cache, "--trace", trace, "--warm=wait", "--prefetch-rate", "4M"]
            + words
        ).wait(seconds: 60)
        let warm = try #require(try Warmblk.row(Disk(id: 0)).warm, "\(outcome)")
        let done = (warm.fetchedBytes + warm.residentBytes) * 100 / warm.wantedBytes
        #expect(outcome.succeeded && seconds.contains(outcome.seconds), "\(words): \(outcome)")
        #expect(
          share.contains(done) && warm.state == (done == 100 ? "warm" : "warming"), "\(words): \(done) %, \(warm)")
        try Warmblk.del(Disk(id: 0))
      }
    }

    @Test("a command that is ended while it waits leaves nothing behind")
    func interrupted() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let scratch = try Scratch(.tmpfs)
      let trace = try scratch.write("reads", "0 \(8 << 20)\n")
      for signal in [SIGINT, SIGTERM] {
        let add = try Warmblk.start([
          "add", "--config", try sample.config(scratch), "--cache", scratch("cache\(signal)"), "--trace", trace,
          "--warm=wait", "--prefetch-rate", "256K",
        ])
        try #require(Deadline(milliseconds: 10_000).wait(interval: 20) { fileExists("/dev/ublkb0") })
        // It answers the whole time.
        let failure = try Disk(id: 0).reading(direct: true) { $0.failure(4096, at: 40 << 20) }
        #expect(failure == nil)
        usleep(300_000)
        #expect(add.isRunning)
        add.signal(signal)
        _ = try add.wait(seconds: 5)
        let isClean = Deadline(milliseconds: 5000).wait(interval: 20) { LeavingNothing.leftovers.isEmpty }
        #expect(isClean, "\(LeavingNothing.leftovers)")
      }
    }

    /// Over a link of 21 ms and 200 Mbit/s, in turns so that both have the same of what else the host does. A round trip is
    /// what a read takes there; what a prefetch must not do is to stand before it.
    @Test(
      "reads of what was not named take little longer beside a prefetch: a fifth where the link is what they wait for")
    func demand() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let content = try sample.content()
      let scratch = try Scratch(.tmpfs)
      let trace = try scratch.write("reads", "0 \(64 << 20)\n")
      let link = try SlowLink(delay: "10.5ms", rate: "200mbit")
      defer { link.remove() }
      var times: [[Double]] = [[], []]
      for turn in 0..<6 {
        let cache = scratch("cache\(turn)")
        let words = turn % 2 == 0 ? [] : ["--trace", trace]
        let outcome = try Warmblk.start(["add", "--config", try sample.config(scratch), "--cache", cache] + words)
          .wait(seconds: 60)
        try #require(outcome.succeeded, "\(outcome)")
        let disk = Disk(id: 0)
        times[turn % 2] += try disk.reading(direct: true) { reader in
          try (0..<60).map { number in
            let began = monotonicNanoseconds()
            let isRight = try reader.matches(content, 4096, at: UInt64((66 << 20) + number * (199 << 10)))
            #expect(isRight)
            return Double(monotonicNanoseconds() - began) / 1e6
          }
        }
        if !words.isEmpty { #expect(try Warmblk.row(disk).warm?.state == "warming", "it was over too soon") }
        try Warmblk.del(disk)
        try need("rm", "-rf", cache)
      }
      let medians = times.map { $0.sorted()[$0.count / 2] }
      print("a cold read takes \(medians[0]) ms, beside a prefetch \(medians[1]) ms")
      // Where a read alone takes more than two round trips, the processors are what it waits for, and they are shared with
      // a prefetch whatever the link does. `scripts/bench cold` measures the same where they are not.
      let isLinkBound = medians[0] < 42
      #expect(medians[1] < medians[0] * (isLinkBound ? 1.2 : 1.75) + (isLinkBound ? 1 : 0), "\(medians)")
    }
  }
}
