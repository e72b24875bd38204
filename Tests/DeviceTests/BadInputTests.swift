import Glibc
import Posix
import Testing

extension OnDevice {
  struct BadInputTests {
    @Test("add refuses what it cannot serve: it says why in one line, and leaves nothing behind")
    func refused() throws {
      let scratch = try Scratch()
      let (good, layer) = try Sample.copy(.none, to: scratch)
      let size = Int(try Descriptor.open(layer).status().st_size)
      try need("cp", layer, scratch("short"))
      try Descriptor.open(scratch("short"), O_WRONLY).truncate(to: UInt64(size - 5000))
      try scratch.write("text", String(repeating: "no layer ", count: 1000))
      let cases: [(config: String, words: [String])] = [
        (scratch("absent.json"), ["absent.json", "ENOENT"]),
        (try scratch.write("broken.json", "{\"lowers\": ["), ["broken.json"]),
        (try scratch.config([], "none.json"), ["none.json", "lowers"]),
        (
          try scratch.config([layer, scratch("missing")], "missing.json"),
          ["missing.json", scratch("missing")]
        ),
        (try scratch.config([scratch("short")], "cut.json"), [scratch("short")]),
        (try scratch.config([scratch("text")], "text.json"), [scratch("text")]),
        (
          try scratch.config([layer], "upper.json", more: #", "upper": {"index": "i", "data": "d"}"#),
          [scratch("d"), "ENOENT"]
        ),
        (
          try scratch.write("remote.json", #"{"lowers": [{"digest": "sha256:00", "size": 5}]}"#),
          ["remote.json", "lowers[0]"]
        ),
      ]
      let programs = try cases.map { try Warmblk.start(["add", "--config", $0.config]) }
      for (program, expected) in zip(programs, cases) {
        let outcome = try program.wait(seconds: 60)
        #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
        #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome)")
        for word in expected.words { #expect(outcome.errors.contains(word), "\(outcome)") }
      }
      #expect(LeavingNothing.leftovers.isEmpty)
      try Warmblk.del(try Warmblk.add(good))
    }

    @Test("the resultFile says what became of the device, as overlaybd's does")
    func resultFile() throws {
      let scratch = try Scratch()
      let (_, layer) = try Sample.copy(.lz4, to: scratch)
      let more = #", "resultFile": "\#(scratch("result"))""#
      let disk = try Warmblk.add(try scratch.config([layer], "good.json", more: more))
      #expect(Guest.text(scratch("result")) == "success")
      try Warmblk.del(disk)
      let bad = try Warmblk.run(
        "add", "--config", try scratch.config([scratch("gone")], "bad.json", more: more))
      let result = Guest.text(scratch("result"))
      #expect(bad.status == 1)
      #expect(
        result.hasPrefix("failed:") && result.contains(scratch("gone")) && !result.contains("\n"), "\(result)"
      )
    }

    @Test("a command line that is wrong has its own exit code")
    func usage() throws {
      #expect(try Warmblk.run("add").status == 64)
      #expect(try Warmblk.run("del").status == 64)
      #expect(try Warmblk.run("doctor").succeeded)
    }
  }
}
