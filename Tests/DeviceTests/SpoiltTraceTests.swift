import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  /// Whatever is given as a trace, the device is there and right, and says what was wrong with it.
  @Suite("Traces that are no good")
  struct SpoiltTraceTests {
    private static let whole = Result { () throws -> AccessTrace in
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch()
      let reads = StartReads(of: try sample.content().count)
      try need(
        Guest.binary, "trace", "convert", try scratch.write("reads", reads.text), "--config",
        try sample.config(scratch),
        "--cache", scratch("cache"), "-o", scratch("trace"))
      return try TraceFile(scratch("trace")).trace
    }

    /// Makes a device with traces of these kinds, on an empty cache; what `add` said.
    private func add(_ traces: [SpoiltTrace], _ mode: String, _ config: String, _ scratch: Scratch) throws
      -> [Substring]
    {
      var words = ["add", "--config", config, "--cache", scratch("cache"), "--warm=\(mode)"]
      for trace in traces {
        words += ["--trace", try scratch.write("\(trace)", try trace.bytes(try Self.whole.get()))]
      }
      let outcome = try Warmblk.start(words).wait(seconds: 60)
      try #require(outcome.succeeded && outcome.output == "/dev/ublkb0\n", "\(outcome)")
      let lines = outcome.errors.split(separator: "\n")
      let log = Guest.text("/run/warmblk/0.log")
      for trace in traces {
        let about = lines.filter { $0.contains(scratch("\(trace): ")) }
        let isDropped = about.contains { $0.hasSuffix("the device is made without this trace") }
        #expect(
          about.contains { $0.contains(trace.says) } && isDropped == (trace.rest != .some), "\(trace): \(outcome)")
        for line in about { #expect(log.contains(line.dropFirst("warmblk add: warning: ".count)), "\(log)") }
      }
      return lines
    }

    /// All bytes that a start reads are right, and nothing failed.
    private func check(_ content: RawContent) throws {
      let disk = Disk(id: 0)
      try StartReads(of: content.count, count: 30).replay(disk, content)
      #expect(try Warmblk.row(disk).errors == 0)
      try Warmblk.del(disk)
    }

    @Test(
      "those that cannot be read are each a line of add and of the log, and the device is there, right, and not called warm",
      arguments: ["wait", "background"])
    func unreadable(_ mode: String) throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch(.tmpfs)
      let lines = try add(SpoiltTrace.unreadable, mode, try sample.config(scratch), scratch)
      #expect(lines.count == SpoiltTrace.unreadable.count, "\(lines)")
      #expect(try Warmblk.row(Disk(id: 0)).warm == nil)
      try check(try sample.content())
    }

    @Test(
      "what is of this image is prefetched, and where that is nothing the device is not called warm",
      arguments: SpoiltTrace.readable)
    func readable(_ trace: SpoiltTrace) throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch(.tmpfs)
      let mode = SpoiltTrace.readable.firstIndex(of: trace)! % 2 == 0 ? "wait" : "background"
      let lines = try add([trace], mode, try sample.config(scratch), scratch)
      if trace.rest == .nothing {
        #expect(try Warmblk.row(Disk(id: 0)).warm == nil, "\(lines)")
      } else {
        let warm = try Warmblk.warmth(Disk(id: 0)) { $0.state != "warming" }
        #expect(warm.state == "warm" && warm.wantedBytes > 0 && warm.wantedBytes <= sample.size, "\(warm)")
        #expect(
          warm.failedBytes == 0 && warm.trouble == nil && (lines.count == 2) == (mode == "wait"), "\(lines) \(warm)")
      }
      try check(try sample.content())
    }

    @Test("one that is the image's own is no obstacle either, and neither is a folder in its place")
    func own() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch(.tmpfs)
      let path = scratch("layer/trace")
      try makeDirectories(scratch("layer"))
      let text = Guest.text(try sample.config(scratch, more: #", "accelerationLayer": true"#))
      let config = try scratch.write("own.json", text.replacing("}]", with: #"}, {"dir": "\#(scratch("layer"))"}]"#))
      for (mode, says) in [("wait", SpoiltTrace.flippedRecord.says), ("", "\(path) is no file")] {
        if mode.isEmpty {
          try need("rm", path)
          try makeDirectories(path)
        } else {
          try scratch.write("layer/trace", try SpoiltTrace.flippedRecord.bytes(try Self.whole.get()))
        }
        let words = ["add", "--config", config, "--cache", scratch("cache")] + (mode.isEmpty ? [] : ["--warm=\(mode)"])
        let outcome = try Warmblk.start(words).wait(seconds: 60)
        try #require(outcome.succeeded && outcome.errors.contains(says), "\(outcome)")
        #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome)")
        try check(try sample.content())
      }
    }

    @Test("ranges that overlap, and the same again and again, are fetched once")
    func overlapping() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.plain()
      let content = try sample.content()
      let scratch = try Scratch(.tmpfs)
      let config = try sample.config(scratch)
      // 1 MiB of the disk, told in many ways; far from both ends, which are fetched in any case.
      var text = ""
      for start in stride(from: 2 << 20, to: 3 << 20, by: 4096) {
        text += "\(start) 4096\n\(max(2 << 20, start - 5000)) 4096\n\(2 << 20) \(start - 2 << 20 + 4096)\n"
      }
      let again = try scratch.write("again", "2097152 1048576\n")
      let reads = try scratch.write("reads", text)
      let ((disk, said), requests) = try registry.requests {
        try Warmblk.warm(
          config, "--cache", scratch("cache"), "--trace", reads, "--trace", again, "--trace", reads, "--warm=wait")
      }
      let warm = try Warmblk.warmth(disk)
      #expect(warm.state == "warm" && (1 << 20...1 << 20 + 8192).contains(warm.wantedBytes), "\(warm) \(said)")
      #expect(requests.count <= 8, "\(requests)")
      let (_, replay) = try registry.requests {
        try disk.reading(direct: true) { reader in
          for start in stride(from: 2 << 20, to: 3 << 20, by: 65536) {
            let isRight = try reader.matches(content, 65536, at: UInt64(start))
            #expect(isRight)
          }
        }
      }
      #expect(replay.isEmpty, "\(replay)")
      try Warmblk.del(disk)
    }

    @Test("a trace is worth as much when the layers stand in another order, and others stand between them")
    func restacked() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let content = try sample.content()
      let scratch = try Scratch(.tmpfs)
      let reads = StartReads(of: content.count)
      let first = try Warmblk.add(try sample.config(scratch), "--cache", scratch("first"), "--record", scratch("trace"))
      try reads.replay(first, content)
      try Warmblk.del(first)
      // None of them hides anything of another; that at the bottom is hidden altogether.
      let below = try RemoteSample.plain().layers
      let layers = sample.layers
      let other = RemoteSample(raw: sample.raw, layers: below + [layers[2], layers[0], layers[1], layers[3]])
      let config = try other.config(scratch, "other.json")
      let (disk, said) = try Warmblk.warm(
        config, "--cache", scratch("second"), "--trace", scratch("trace"), "--warm=wait")
      #expect(said.split(separator: "\n").count == 1 && said.hasPrefix("warm: "), "\(said)")
      let (_, replay) = try registry.requests { try reads.replay(disk, content) }
      #expect(replay.isEmpty, "\(replay)")
      let warm = try Warmblk.warmth(disk) { $0.hitChunks > 0 }
      #expect(warm.state == "warm" && warm.untracedChunks == 0, "\(warm)")
      try Warmblk.del(disk)
    }
  }
}
