import Glibc
import Posix
import Testing
import TestSupport

extension OnDevice {
  struct CacheTroubleTests {
    @Test("a cache on a disk that is full is read past, and old chunks make room")
    func full() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.large()
      let scratch = try Scratch(.tmpfs)
      try makeDirectories(scratch("cache"))
      try need("mount", "-t", "tmpfs", "-o", "size=64m", "small", scratch("cache"))
      defer { _ = try? run("umount", "-l", scratch("cache")) }
      let disk = try Warmblk.add(try sample.config(scratch), "--cache", scratch("cache"))
      for _ in 0..<2 { #expect(try run("cmp", sample.raw, disk.path).succeeded) }
      let isNoted = Deadline(milliseconds: 5000).wait(interval: 100) {
        ((try? Warmblk.row(disk).remote?.counts.bypasses) ?? 0) > 0
      }
      let row = try Warmblk.row(disk)
      #expect(isNoted && row.errors == 0, "\(row)")
      let log = Guest.text("/run/warmblk/\(disk.id).log")
      #expect(log.contains("ENOSPC") && log.contains("were dropped"), "\(log)")
      // What was read last is there: the old went for it.
      let last = UInt64((80 << 20) - (64 << 10))
      try disk.reading(direct: true) { #expect($0.failure(4096, at: last) == nil) }
      try Warmblk.del(disk)
    }

    /// Spoils the cache's bytes of a blob: noise in some places, holes in others.
    private func spoil(_ cache: String, _ layer: RemoteLayer, _ random: inout SplitMix) throws {
      let path = "\(cache)/sha256/\(layer.digest.dropFirst("sha256:".count)).data"
      let file = try Descriptor.open(path, O_RDWR)
      for _ in 0..<8 {
        let offset = UInt64.random(in: 0..<UInt64(layer.size - 8192), using: &random)
        let noise = random.bytes(Int.random(in: 1...5000, using: &random))
        try noise.withUnsafeBytes { try file.writeFully($0, at: offset) }
      }
      for _ in 0..<4 {
        let page = Int.random(in: 0..<layer.size / 4096 - 4, using: &random)
        try need("fallocate", "-p", "-o", "\(page * 4096)", "-l", "16384", path)
      }
    }

    private func waitForRepairs(_ disk: Disk) throws -> UInt64 {
      _ = Deadline(milliseconds: 5000).wait(interval: 100) {
        ((try? Warmblk.row(disk).remote?.counts.repairs) ?? 0) > 0
      }
      return try #require(try Warmblk.row(disk).remote).counts.repairs
    }

    @Test("what is damaged in the cache of a compressed layer is fetched again under load, and never read")
    func damagedUnderLoad() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.lz4()
      let content = try sample.content()
      let scratch = try Scratch()
      let seed = UInt64.random(in: 0...UInt64.max)
      print("seed \(seed)")
      var random = SplitMix(state: seed)
      let disk = try Warmblk.add(try sample.config(scratch), "--cache", scratch("cache"))
      try disk.reading(direct: true) { try $0.compare(with: content, "before") }
      let load = try Reader(manyAtOnce: disk)
      for round in 0..<4 {
        try spoil(scratch("cache"), sample.layers[0], &random)
        try disk.reading(direct: true) { try $0.compare(with: content, "round \(round), seed \(seed)") }
      }
      // Ended by us it has status 137, by an error another one.
      load.program.signal(SIGKILL)
      let outcome = try load.program.wait(seconds: 5)
      #expect(outcome.status == 128 + SIGKILL, "the load had an error: \(outcome)")
      #expect(try waitForRepairs(disk) >= 4, "seed \(seed)")
      #expect(try Warmblk.row(disk).errors == 0, "seed \(seed): \(Guest.text("/run/warmblk/\(disk.id).log"))")
      try Warmblk.del(disk, "--force")
    }

    @Test("what was damaged in the cache of an uncompressed layer is noticed before it is read")
    func damagedBefore() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.plain()
      let content = try sample.content()
      let scratch = try Scratch()
      let seed = UInt64.random(in: 0...UInt64.max)
      print("seed \(seed)")
      var random = SplitMix(state: seed)
      let config = try sample.config(scratch)
      for round in 0..<3 {
        let disk = try Warmblk.add(config, "--cache", scratch("cache"))
        try disk.reading(direct: true) { try $0.compare(with: content, "round \(round), seed \(seed)") }
        if round > 0 { #expect(try waitForRepairs(disk) >= 1, "seed \(seed)") }
        try Warmblk.del(disk)
        try spoil(scratch("cache"), sample.layers[0], &random)
      }
    }

    @Test("without a cache folder that can be written to, layers are read without a cache, and add says so")
    func unusable() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let content = try sample.content()
      let scratch = try Scratch()
      try makeDirectories(scratch("read-only"))
      try need("mount", "-t", "tmpfs", "-o", "ro", "nothing", scratch("read-only"))
      defer { _ = try? run("umount", "-l", scratch("read-only")) }
      try scratch.write("file", "no folder")
      for (path, reason) in [(scratch("read-only"), "EROFS"), (scratch("file"), "ENOTDIR")] {
        let outcome = try Warmblk.run("add", "--config", try sample.config(scratch), "--cache", path)
        try #require(outcome.succeeded, "\(outcome)")
        let disk = Disk(id: try #require(UInt32(outcome.output.dropFirst("/dev/ublkb".count).dropLast())))
        #expect(outcome.errors.contains(path) && outcome.errors.contains(reason), "\(outcome)")
        try disk.reading(direct: true) { try $0.compare(with: content, "cache \(path)") }
        try Warmblk.del(disk)
      }
      // One that is not there is made.
      let disk = try Warmblk.add(try sample.config(scratch), "--cache", scratch("a/b/cache"))
      try Warmblk.del(disk)
      #expect(fileExists(scratch("a/b/cache/sha256")))
    }

    @Test("a cache on a disk that warmblk serves is refused")
    func onOwnDisk() throws {
      let image = try MountedImage()
      let disk = try Warmblk.add(image.config)
      try image.mount(disk)
      let scratch = try Scratch()
      let config = try RemoteSample.stack().config(scratch)
      let outcome = try Warmblk.run("add", "--config", config, "--cache", image.mountPoint)
      #expect(outcome.status == 1 && outcome.errors.contains("ublkb\(disk.id)"), "\(outcome)")
      try image.unmount()
      try Warmblk.del(disk)
    }
  }
}
