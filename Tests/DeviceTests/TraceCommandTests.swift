import Glibc
import Posix
import TestSupport
import Testing

extension OnDevice {
  @Suite("warmblk trace")
  struct TraceCommandTests {
    /// A trace of `text`, which is offsets and lengths, on the image.
    private func trace(_ text: String, _ config: String, _ scratch: Scratch, _ name: String) throws -> String {
      let outcome = try Warmblk.run(
        "trace", "convert", try scratch.write("\(name).txt", text), "--config", config, "-o", scratch(name))
      #expect(outcome.status == 0 && outcome.output.isEmpty, "\(outcome)")
      return scratch(name)
    }

    @Test("runs are converted, merged, compared, drawn and brought to overlaybd's form and back")
    func wholeWay() throws {
      let scratch = try Scratch()
      let (config, _) = try Sample.copy(.lz4, to: scratch)
      let first = try trace("0 65536\n1048576 8192\n", config, scratch, "first")
      let second = try trace("1048576 4096\n0 4096\n", config, scratch, "second")
      let merged = try Warmblk.run("trace", "merge", first, second, "--min-runs", "2", "-o", scratch("merged"))
      #expect(merged.status == 0 && merged.errors.contains("2 runs"), "\(merged)")

      let ranges = try Warmblk.run("trace", "convert", scratch("merged"), "--to", "ranges", "-o", "-")
      let starts = ranges.output.split(separator: "\n").compactMap { $0.split(separator: " ").first }
      #expect(!starts.isEmpty && Set(starts).isSubset(of: ["0", "1048576"]), "\(ranges)")

      struct Difference: Decodable { let both, onlyFirst, onlySecond: UInt64 }
      func difference(_ a: String, _ b: String) throws -> Difference {
        try Warmblk.decoded(try Warmblk.run("trace", "diff", a, b, "--json").output)
      }
      let parts = try difference(first, scratch("merged"))
      #expect(parts.both > 0 && parts.onlyFirst > 0 && parts.onlySecond == 0)

      struct Summary: Decodable { let bytes: UInt64, runs: Int, accesses: Int }
      let shown = try Warmblk.run("trace", "show", scratch("merged"), "--json", "--svg", scratch("map.svg"))
      let summary: Summary = try Warmblk.decoded(shown.output)
      #expect(summary.runs == 2 && summary.bytes == parts.both)
      #expect(Guest.text(scratch("map.svg")).contains("</svg>"))
      #expect(try Warmblk.run("trace", "show", first).output.contains("▏"))

      for (to, name) in [("overlaybd", "records"), ("json", "lines")] {
        let there = try Warmblk.run("trace", "convert", first, "--to", to, "--config", config, "-o", scratch(name))
        let back = try Warmblk.run("trace", "convert", scratch(name), "--config", config, "-o", scratch("\(name).back"))
        #expect(there.status == 0 && back.status == 0, "\(there) \(back)")
        let rest = try difference(first, scratch("\(name).back"))
        #expect(rest.onlyFirst == 0 && rest.onlySecond == 0 && rest.both == parts.both + parts.onlyFirst)
      }
    }

    @Test("a trim drops what reports call wasted")
    func trim() throws {
      let scratch = try Scratch()
      let (config, layer) = try Sample.copy(.none, to: scratch)
      let trace = try trace("0 1048576\n", config, scratch, "trace")
      struct Layers: Decodable {
        struct Layer: Decodable { let identity: String, bytes: UInt64 }
        let bytes: UInt64, layers: [Layer]
      }
      let before: Layers = try Warmblk.decoded(try Warmblk.run("trace", "show", trace, "--json").output)
      let identity = try #require(before.layers.first).identity
      let size = try Descriptor.open(layer).status().st_size
      let report = try scratch.write(
        "report", #"{"wasted":[{"layer":"\#(identity)","offset":0,"length":\#(size)}],"untraced":[]}"#)
      let trimmed = try Warmblk.run("trace", "trim", trace, report, "-o", scratch("trimmed"))
      #expect(trimmed.status == 0 && trimmed.errors.contains("0 accesses left"), "\(trimmed)")
      #expect(before.bytes > 0)
    }

    @Test("what cannot be done is one line that says why, and leaves every file as it was")
    func refused() throws {
      let scratch = try Scratch()
      let (config, _) = try Sample.copy(.lz4, to: scratch)
      let good = try trace("0 4096\n", config, scratch, "good")
      let elsewhere = try Scratch()
      let other = try trace("0 4096\n", try Sample.copy(.none, to: elsewhere).config, scratch, "other")
      let bytes = try readFile(good)
      let cut = try scratch.write("cut", Array(bytes.dropLast()))
      let text = try scratch.write("text", "0 4096\n17\n")
      let cases: [(words: [String], says: String)] = [
        (["show", scratch("absent")], "ENOENT"), (["show", cut], "incomplete"),
        (["show", scratch("good.txt")], "--config"),
        (["show", config], "line 1"), (["convert", text, "--config", config, "-o", scratch("o")], "line 2"),
        (["convert", good, "-o", good], "--force"),
        (["merge", good, other, "-o", scratch("o")], "other: trace: number 2"),
        (["merge", good, "--min-runs", "2", "-o", scratch("o")], "--min-runs 2"),
        (["trim", good, text, "-o", scratch("o")], "is not JSON"), (["convert", good, "-o", "/dev/null/x"], "ENOTDIR"),
        (["convert", good, "--config", scratch("absent.json"), "-o", scratch("o")], "absent.json"),
      ]
      for (words, says) in cases {
        let outcome = try Warmblk.start(["trace"] + words).wait(seconds: 60)
        #expect(outcome.status == 1 && outcome.output.isEmpty && outcome.errors.contains(says), "\(words): \(outcome)")
        #expect(outcome.errors.split(separator: "\n").count == 1, "\(words): \(outcome)")
      }
      #expect(try readFile(good) == bytes && !fileExists(scratch("o")))
    }
  }
}
