import Glibc
import Posix
import TestSupport
import Testing

extension OnDevice {
  @Suite("warmblk trace grade")
  struct GradeReportTests {
    private static let mebi: UInt64 = 1 << 20
    /// Away from both ends of the disk, where the kernel looks for partitions.
    private static let window = mebi / 2..<mebi * 15 / 2

    /// Reads parts of the disk, all of them right.
    private func read(_ parts: [Range<UInt64>], _ disk: Disk, _ content: RawContent) throws {
      try disk.reading(direct: true) { reader in
        for part in parts {
          let isRight = try reader.matches(content, part.count, at: part.lowerBound)
          #expect(isRight, "\(part)")
        }
      }
    }

    /// What a trace names in the window, in bytes of the one layer.
    private func stored(_ path: String) throws -> [Range<UInt64>] {
      TraceFile.joined(
        try TraceFile(path).trace.accesses.map { $0.stored.clamped(to: Self.window) }.filter { !$0.isEmpty })
    }

    @Test("a trace that names too much and too little, trimmed by the report of one start, is what that start read")
    func trimmed() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.plain()
      let content = try sample.content()
      let scratch = try Scratch()
      let config = try sample.config(scratch)
      func part(_ start: UInt64, _ kibi: UInt64) -> Range<UInt64> { start..<start + kibi << 10 }
      let whole = part(Self.mebi, 64)
      let long = part(Self.mebi * 3, 128)

      let first = try Warmblk.add(config, "--cache", scratch("first"))
      try Warmblk.startRecording(first, scratch("old"))
      try read([whole, long, part(Self.mebi * 5, 32)], first, content)
      _ = try Warmblk.stopRecording(first)
      try Warmblk.del(first)

      // Says on standard error how it warmed.
      let added = try Warmblk.run(
        "add", "--config", config, "--cache", scratch("second"), "--trace", scratch("old"), "--warm=wait", "--record",
        scratch("truth"))
      try #require(added.succeeded && added.errors.hasPrefix("warm: 3 ranges, 224 KiB fetched"), "\(added)")
      let second = Disk(id: try #require(UInt32(added.output.dropFirst("/dev/ublkb".count).dropLast())))
      // Some of what was wanted, and something far from it that was not.
      try read([whole, part(long.lowerBound + 32 << 10, 16), part(Self.mebi * 6, 16)], second, content)
      let graded = try Warmblk.run("trace", "grade", "-n", "\(second.id)", "-o", scratch("report"))
      #expect(graded.succeeded && graded.output.contains("144 KiB wasted"), "\(graded)")
      _ = try Warmblk.stopRecording(second)
      try Warmblk.del(second)

      let trimmed = try Warmblk.run("trace", "trim", scratch("old"), scratch("report"), "-o", scratch("new"))
      #expect(trimmed.succeeded, "\(trimmed)")
      let truth = try stored(scratch("truth"))
      #expect(truth.count == 3 && truth.reduce(0) { $0 + $1.count } == 96 << 10, "\(truth)")
      #expect(try stored(scratch("new")) == truth)
      #expect(try stored(scratch("old")) != truth)
    }

    @Test("where nothing was prefetched, or a file is in the way, one line says so and nothing is written")
    func refused() throws {
      _ = try RemoteSample.registry()
      let scratch = try Scratch()
      let local = try Warmblk.add(try Sample.image(.lz4))
      let remote = try Warmblk.add(try RemoteSample.lz4().config(scratch), "--cache", scratch("cache"))
      let cases = [
        (local, scratch("report"), "files of this machine"), (remote, scratch("report"), "nothing was prefetched"),
        (remote, scratch("absent/report"), "ENOENT"), (remote, try scratch.write("there", "x"), "--force"),
      ]
      for (disk, path, says) in cases {
        let outcome = try Warmblk.run("trace", "grade", "-n", "\(disk.id)", "-o", path)
        #expect(outcome.status == 1 && outcome.output.isEmpty && outcome.errors.contains(says), "\(outcome)")
        #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome)")
      }
      #expect(!fileExists(scratch("report")))
      for disk in [local, remote] { try Warmblk.del(disk) }
    }
  }
}
