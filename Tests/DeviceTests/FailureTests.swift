import Glibc
import Posix
import Testing

extension OnDevice {
  /// Layers that go bad, and things that cannot be served.
  @Suite struct FailureTests {
    @Test("a layer that loses its end gives errors there, right bytes before, and nothing to other devices",
      arguments: ["none", "lz4"], Scratch.Place.allCases)
    func truncated(_ codec: String, _ place: Scratch.Place) throws {
      let scratch = try Scratch(place)
      let raw = try LifeTests.raw(scratch)
      let config = try Warmblk.importing(raw, to: scratch("bad"), "--compress", codec)
      let good = try Warmblk.importing(raw, to: scratch("good"), "--compress", codec)
      let disks = try Warmblk.add(each: [config, good])
      let layer = try Descriptor.open("\(scratch("bad"))/overlaybd.commit", O_RDWR)
      try layer.truncate(to: 2 << 20)
      let content = try RawContent(raw)
      try disks[0].reading(direct: true) { reader in
        #expect(try reader.matches(content, 1 << 20, at: 0))
        #expect(reader.failure(4096, at: 3 << 20) == .ioError)
        #expect(reader.failure(256 << 10, at: 3 << 20) == .ioError)
        #expect(try reader.matches(content, 4096, at: 1 << 20))
      }
      try disks[1].reading(direct: true) { try $0.compare(with: content, "the other device") }
      #expect(try Warmblk.row(disks[0]).errors! >= 2)
      #expect(try Warmblk.row(disks[1]).errors == 0)
      let isLogged = Deadline(milliseconds: 4000).wait(interval: 50) {
        Guest.text("/run/warmblk/\(disks[0].id).log").contains("\(scratch("bad"))/overlaybd.commit")
      }
      #expect(isLogged, "the log does not name the layer: \(Guest.text("/run/warmblk/\(disks[0].id).log"))")
      for disk in disks { try Warmblk.del(disk) }
    }

    @Test("a damaged compressed block is an error, never wrong bytes", arguments: ["lz4", "zstd"])
    func damaged(_ codec: String) throws {
      let scratch = try Scratch()
      let raw = try LifeTests.raw(scratch)
      let disk = try Warmblk.add(try Warmblk.importing(raw, to: scratch("image"), "--compress", codec))
      let layer = try Descriptor.open("\(scratch("image"))/overlaybd.commit", O_RDWR)
      var byte: [UInt8] = [0]
      _ = try byte.withUnsafeMutableBytes { try layer.readFully(into: $0, at: 2 << 20) }
      byte[0] ^= 0x10
      try byte.withUnsafeBytes { try layer.writeFully($0, at: 2 << 20) }
      let content = try RawContent(raw)
      var failures = 0
      try disk.reading(direct: true) { reader in
        for offset in stride(from: 0, to: 4 << 20, by: 16 << 10) {
          if reader.failure(16 << 10, at: UInt64(offset)) != nil {
            failures += 1
          } else {
            #expect(try reader.matches(content, 16 << 10, at: UInt64(offset)), "at \(offset)")
          }
        }
      }
      #expect((1...2).contains(failures), "\(failures) pieces failed for one flipped bit")
      try Warmblk.del(disk)
    }

    @Test("add says what is wrong, exits 1, writes the result file and leaves nothing behind")
    func refusals() throws {
      let scratch = try Scratch()
      let whole = "\(scratch("image"))/overlaybd.commit"
      let config = try Warmblk.importing(try LifeTests.raw(scratch), to: scratch("image"))
      try need("sh", "-c", "head -c 1000000 \(whole) >\(scratch("short"))")
      let result = #", "resultFile": "\#(scratch("result"))""#
      let cases: [(String, String)] = [
        (try scratch.config([scratch("absent")], "1.json", more: result), "absent"),
        (try scratch.config([scratch("short")], "2.json", more: result), "short"),
        (try scratch.config([whole], "3.json", more: #", "upper": {"index": "/i", "data": "/d"}"# + result), "upper"),
        (try scratch.write("4.json", #"{"lowers": [{"digest": "sha256:00", "size": 1}]\#(result)}"#), "sha256:00"),
      ]
      for (path, word) in cases {
        unlink(scratch("result"))
        let outcome = try Warmblk.run("add", "--config", path)
        #expect(outcome.status == 1 && outcome.output.isEmpty && outcome.errors.contains(word), "\(outcome)")
        #expect(Guest.text(scratch("result")).hasPrefix("failed:"), "\(path)")
        #expect(LeavingNothing.leftovers.isEmpty, "\(path): \(LeavingNothing.leftovers)")
      }
      for path in [scratch("none.json"), try scratch.write("5.json", "{")] {
        let outcome = try Warmblk.run("add", "--config", path)
        #expect(outcome.status == 1 && outcome.errors.contains(path), "\(outcome)")
      }
      let fine = try scratch.config([whole], "6.json", more: result)
      try Warmblk.del(try Warmblk.add(fine))
      #expect(Guest.text(scratch("result")) == "success")
      #expect(try Warmblk.run("add").status == 64)
      #expect(try Warmblk.run("del", "-n", "99").status == 1)
      #expect(try Warmblk.start(["add", "--config", config, "--depth", "5000"]).wait(seconds: 20).status != 0)
    }
  }
}
