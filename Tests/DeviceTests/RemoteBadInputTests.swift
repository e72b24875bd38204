import Glibc
import Posix
import Testing

extension OnDevice {
  struct RemoteBadInputTests {
    @Test(
      "add refuses a layer that a registry does not have as the image says, at once, and names layer, URL and cause")
    func refused() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch()
      try scratch.write("text", [UInt8](repeating: 0x61, count: 40_000))
      let text = try registry.push([scratch("text")])[0]
      func with(_ layer: RemoteLayer) -> RemoteSample {
        RemoteSample(raw: sample.raw, layers: Array(sample.layers.dropLast()) + [layer])
      }
      let last = sample.layers[3]
      let absent = RemoteLayer(digest: "sha256:" + String(repeating: "5", count: 64), size: last.size)
      let elsewhere = "http://registry.invalid:5000/v2/images/test/blobs"
      let closed = "http://127.0.0.1:9/v2/images/test/blobs"
      let cases: [(name: String, config: String, words: [String])] = [
        ("digest", try with(absent).config(scratch, "digest.json"), [absent.digest, "404"]),
        (
          "larger", try with(RemoteLayer(digest: last.digest, size: last.size + 70_000)).config(scratch, "larger.json"),
          [last.digest, "\(last.size)"]
        ),
        (
          "smaller",
          try with(RemoteLayer(digest: last.digest, size: last.size - 70_000)).config(scratch, "smaller.json"),
          [last.digest, "\(last.size)"]
        ),
        ("no layer", try with(text).config(scratch, "text.json"), [text.digest]),
        ("host", try sample.config(scratch, "host.json", url: elsewhere), ["registry.invalid"]),
        ("port", try sample.config(scratch, "port.json", url: closed), ["127.0.0.1:9"]),
      ]
      for expected in cases {
        let outcome = try Warmblk.run("add", "--config", expected.config, "--cache", scratch("cache-\(expected.name)"))
        #expect(outcome.status == 1 && outcome.output.isEmpty, "\(expected.name): \(outcome)")
        #expect(outcome.errors.split(separator: "\n").count == 1, "\(expected.name): \(outcome)")
        for word in expected.words + ["/v2/images/test/blobs/sha256:"] {
          #expect(outcome.errors.contains(word), "\(expected.name): \(outcome)")
        }
        #expect(outcome.seconds < 5, "\(expected.name): \(outcome)")
        #expect(LeavingNothing.leftovers.isEmpty, "\(expected.name)")
        print("\(expected.name) after \(outcome.seconds) s: \(outcome.errors)", terminator: "")
      }
    }
  }
}
