import Glibc
import Posix
import Testing
import TestSupport

extension OnDevice {
  /// Two machines with one disk: the first loses its power while a device fills its cache, the second looks at what is
  /// left. scripts/test starts both, and says to each which it is.
  struct PowerCutTests {
    private static let part = Guest.environment("WARMBLK_POWER_CUT")
    private static let disk = "/dev/vda"
    private static let folder = "/run/warmblk-disk"
    private static let layers = "\(folder)/layers"

    private static func image() throws -> RemoteSample {
      let words = Guest.text(layers).split { $0.isWhitespace }
      return RemoteSample(
        raw: "\(folder)/raw", layers: [RemoteLayer(digest: String(words[0]), size: Int(words[1]) ?? 0)])
    }

    @Test("the power is cut while a device fills its cache", .enabled(if: part == "cut"))
    func cut() throws {
      var random = SplitMix.announced("power cut")
      let kind = ["ext4", "xfs", "btrfs"].randomElement(using: &random)!
      try need("mkfs.\(kind)", "-q", Self.disk)
      try makeDirectories(Self.folder)
      // Data and, where it can be told to, the file system's own records go to the disk all the time, each on its own.
      try need("mount", "-t", kind, "-o", kind == "xfs" ? "rw" : "commit=1", Self.disk, Self.folder)
      try need("sh", "-c", "cd /proc/sys/vm && echo 10 >dirty_writeback_centisecs && echo 20 >dirty_expire_centisecs")

      let megabytes = 32
      let raw = "\(Self.folder)/raw"
      try need("dd", "if=/dev/urandom", "of=\(raw)", "bs=1M", "count=\(megabytes)", "status=none")
      let scratch = try Scratch(.tmpfs)
      _ = try Warmblk.importing(raw, to: scratch("image"), ["--compress", "none"])
      let registry = try Registry(blobs: "\(Self.folder)/blobs")
      let layer = try registry.push([scratch("image/overlaybd.commit")])[0]
      try writeFileAtomically(Self.layers, Array("\(layer.digest) \(layer.size)\n".utf8))
      try need("sync")

      let device = try Warmblk.add(
        try Self.image().config(scratch, url: registry.repoBlobURL), "--cache", "\(Self.folder)/cache")
      let reader = try Program(["cmp", raw, device.path])
      func read(_ count: Int) throws {
        let isRead = Deadline(milliseconds: 60_000).wait(interval: 2) { device.readBytes > count }
        try #require(isRead && reader.isRunning)
      }
      try read(megabytes << 20 / 4)
      // So far everything is to be there again; of what comes now, what the file system likes.
      reader.signal(SIGSTOP)
      try need("sync", "-f", Self.folder)
      reader.signal(SIGCONT)
      try read(Int.random(in: megabytes << 20 / 2..<megabytes << 20 / 4 * 3, using: &random))
      print("\(kind): the power is cut after \(device.readBytes) bytes")
      try writeFileAtomically("/run/vm/cut", [])
      _ = Deadline(milliseconds: 20_000).wait(interval: 100) { false }
      Issue.record("the power was not cut")
    }

    @Test(
      "after a power cut no wrong byte is read, what is whole is used, and the rest fetched again",
      .enabled(if: part == "look"))
    func look() throws {
      try makeDirectories(Self.folder)
      try need("mount", Self.disk, Self.folder)
      let scratch = try Scratch(.tmpfs)
      let registry = try Registry(blobs: "\(Self.folder)/blobs")
      let image = try Self.image()
      let content = try image.content()
      let config = try image.config(scratch, url: registry.repoBlobURL)
      let (repairs, requests) = try registry.requests {
        let device = try Warmblk.add(config, "--cache", "\(Self.folder)/cache")
        try device.reading(direct: true) { try $0.compare(with: content, "after the power cut") }
        let row = try Warmblk.row(device)
        #expect(row.errors == 0 && row.remote?.counts.bypasses == 0, "\(row)")
        try Warmblk.del(device)
        return row.remote?.counts.repairs ?? 0
      }
      let bytes = requests.reduce(0) { $0 + $1.bytes }
      #expect((1..<image.size).contains(bytes), "\(bytes) of \(image.size) bytes were fetched again")
      print("\(bytes) of \(image.size) bytes were fetched again, \(repairs) chunks repaired")
      let outcome = try Warmblk.run("cache", "verify", "--dir", "\(Self.folder)/cache")
      #expect(outcome.succeeded && outcome.output.contains(" 0 were damaged"), "\(outcome)")
      try registry.stop()
    }
  }
}
