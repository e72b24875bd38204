import Glibc
import Posix
import Testing

extension OnDevice {
  @Suite("Words of add that ask for the impossible")
  struct WarmArgumentTests {
    /// Refused, with a word on it, and without a device.
    private func refuses(_ command: String, _ words: [String], _ status: Int32, _ says: [String]) throws {
      let outcome = try Warmblk.start([command] + words).wait(seconds: 30)
      #expect(outcome.status == status && outcome.output.isEmpty && !outcome.wasLate, "\(outcome)")
      for word in says { #expect(outcome.errors.contains(word), "\(words): \(outcome)") }
      #expect(LeavingNothing.leftovers.isEmpty, "\(words)")
    }

    @Test("are a wrong command line: status 64, the word is named, and there is no device")
    func wrong() throws {
      let scratch = try Scratch()
      let config = try Sample.image(.lz4)
      let trace = try scratch.write("reads", "0 4096\n")
      let wait = ["--trace", trace, "--warm=wait"]
      func option(_ name: String, _ values: String..., after words: [String]) -> [(words: [String], says: [String])] {
        values.map { (words + ["--\(name)=\($0)"], ["--\(name)", $0.isEmpty ? "Missing value" : "'\($0)'"]) }
      }
      var cases = option("warm", "", "Wait", "wait,off", after: ["--trace", trace])
      cases += option("warm-until", "0%", "101%", "-5%", "nan", "50%%", after: wait)
      cases += option("warm-deadline", "0s", "-1s", "1y", "1.5s", "721h", after: wait)
      cases += option("prefetch-rate", "-1", "20X", "", "18446744073709551615G", after: wait)
      for rate in ["0", "1023"] { cases.append((wait + ["--prefetch-rate", rate], ["--prefetch-rate \(rate)"])) }
      for mode in ["off", "background", nil] {
        let words = mode.map { ["--warm=\($0)"] } ?? []
        cases.append((words + ["--warm-until", "50%"], ["--warm-until is for --warm=wait"]))
        cases.append((words + ["--warm-deadline", "5s"], ["--warm-deadline is for --warm=wait"]))
      }
      cases.append((["--warm=off", "--trace", trace], ["--warm=off prefetches nothing"]))
      cases.append((["--warm=off", "--prefetch-rate", "1M"], ["--warm=off prefetches nothing"]))
      for name in ["trace", "warm-until", "warm-deadline", "prefetch-rate"] {
        cases.append((["--\(name)"], ["--\(name)"]))
      }
      for (words, says) in cases {
        try refuses("add", ["--config", config] + words, 64, says + ["Usage: warmblk add"])
      }
      for (words, says) in [cases[1], cases[3]] {
        try refuses("serve", ["--config", config] + words, 64, says + ["Usage: warmblk serve"])
      }
    }

    @Test("or cannot be done: status 1, and one line that says why")
    func impossible() throws {
      let scratch = try Scratch()
      let config = try Sample.image(.lz4)
      try makeDirectories(scratch("folder"))
      let cases = [
        (["--trace", scratch("absent")], [scratch("absent"), "ENOENT"]),
        (["--trace", scratch("folder"), "--warm=wait"], [scratch("folder"), "EISDIR"]),
        (["--warm"], ["nothing says what to warm", "--trace"]),
        (["--warm=wait", "--warm-deadline", "1s"], ["nothing says what to warm"]),
        (["--warm=background"], ["nothing says what to warm"]),
        (["--prefetch-rate", "1M"], ["nothing says what to warm"]),
      ]
      for (words, says) in cases { try refuses("add", ["--config", config] + words, 1, says) }
      try refuses("serve", ["--config", config] + cases[0].0, 1, cases[0].1)
    }

    @Test("--trace alone warms in the background, and off means it for the image's own trace too")
    func meaning() throws {
      let scratch = try Scratch()
      let trace = try scratch.write("reads", "0 4096\n")
      let layer = try Sample.layerFile(.lz4)
      let own = try scratch.config([layer], more: #", "recordTracePath": "\#(trace)""#)
      for (config, words, isWarmed) in [
        (try scratch.config([layer], "plain.json"), ["--trace", trace], true), (own, [], true),
        (own, ["--warm=off"], false),
      ] {
        let outcome = try Warmblk.start(["add", "--config", config] + words).wait(seconds: 30)
        try #require(outcome.succeeded && outcome.errors.isEmpty, "\(outcome)")
        let isThere = Deadline(milliseconds: 3000).wait(interval: 100) {
          (try? Warmblk.row(Disk(id: 0)))?.warm != nil
        }
        #expect(isThere == isWarmed, "\(words)")
        try Warmblk.del(Disk(id: 0))
      }
    }
  }
}
