import Glibc
import Posix
import Testing

extension OnDevice {
  /// `add --warm-into page-cache`: a disk that its server holds open.
  @Suite("Devices whose page cache is filled")
  struct PageCacheTests {
    /// Reads ranges buffered in a process of its own, which then closes the disk; how many reads reach the device.
    private func readsOfAnother(_ disk: Disk, _ ranges: [Range<UInt64>]) throws -> Int {
      let script = """
        import os, sys
        disk = os.open(sys.argv[1], os.O_RDONLY)
        for line in open(sys.argv[2]):
            offset, count = map(int, line.split())
            assert len(os.pread(disk, count, offset)) == count
        """
      let path = "/dev/shm/warmblk-ranges.\(getpid())"
      defer { unlink(path) }
      try writeFileAtomically(path, Array(ranges.map { "\($0.lowerBound) \($0.count)\n" }.joined().utf8))
      let before = disk.reads
      try need("python3", "-c", script, disk.path, path)
      return disk.reads - before
    }

    /// All of it, in parts of a size that `pread` gives in one go.
    private func whole(_ size: Int) -> [Range<UInt64>] {
      stride(from: 0, to: UInt64(size), by: 1 << 20).map { $0..<min(UInt64(size), $0 + 1 << 20) }
    }

    @Test(
      "what was recorded is read from memory: by a process that comes fresh, and again when that has closed the disk"
    )
    func recorded() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let content = try sample.content()
      let scratch = try Scratch()
      let config = try sample.config(scratch)
      let reads = StartReads(of: content.count)
      let recorded = try Warmblk.add(config, "--cache", scratch("recording"), "--record", scratch("trace"))
      try reads.replay(recorded, content)
      try Warmblk.del(recorded)
      let ranges = try TraceFile(scratch("trace")).device
      let words = ["--cache", scratch("cache"), "--trace", scratch("trace"), "--warm=wait"]

      // The bytes alone are on this machine; what one reader brought into memory is gone when it has closed the disk.
      let (plain, _) = try Warmblk.warm(config, words[0], words[1], words[2], words[3], words[4])
      #expect(try Warmblk.warmth(plain).level == "blob" && Warmblk.warmth(plain).pageCache == nil)
      for _ in 0..<2 { #expect(try readsOfAnother(plain, ranges) > ranges.count / 2) }
      try Warmblk.del(plain)

      let (disk, said) = try Warmblk.warm(
        config, words[0], words[1], words[2], words[3], words[4], "--warm-into", "page-cache")
      let warm = try Warmblk.warmth(disk) { $0.state == "warm" }
      let pages = try #require(warm.pageCache)
      #expect(warm.level == "page-cache" && pages.isHeld && pages.failedBytes == 0, "\(warm)")
      #expect(pages.filledBytes == pages.wantedBytes && pages.wantedBytes >= UInt64(Set(reads.places).count) * 4096)
      #expect(said.contains("; page cache: ") && said.split(separator: "\n").count == 1, "\(said)")
      print(said, terminator: "")
      for round in 0..<3 { #expect(try readsOfAnother(disk, ranges) == 0, "round \(round)") }
      let before = disk.reads
      try reads.replay(disk, content, direct: false)
      #expect(disk.reads == before)
      // Nobody but the server has it open, and that is not in the way.
      let outcome = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(outcome.succeeded && outcome.errors.isEmpty && outcome.seconds < 5, "\(outcome)")
    }

    @Test("so is a whole disk of local layers, in the background, to its odd end", arguments: Sample.Codec.allCases)
    func whole(_ codec: Sample.Codec) throws {
      let scratch = try Scratch()
      let content = try Sample.content()
      let disk = try Warmblk.add(
        try Sample.image(codec), "--trace", try scratch.write("reads", "0 \(content.count)\n"), "--warm-into",
        "page-cache")
      let pages = try #require(try Warmblk.warmth(disk) { $0.state == "warm" }.pageCache)
      #expect(pages.isHeld && pages.filledBytes == UInt64(content.count), "\(pages)")
      print("\(codec): \(pages.filledBytes) bytes in \(pages.milliseconds) ms, with \(disk.reads) reads")
      for _ in 0..<2 { #expect(try readsOfAnother(disk, whole(content.count)) == 0) }
      let before = disk.reads
      try disk.reading(direct: false) { try $0.compare(with: content, "\(codec)") }
      #expect(disk.reads == before)
      try Warmblk.del(disk)
    }

    @Test("who else has it open is named as ever, who holds it for the server is not; a refused removal takes nothing")
    func users() throws {
      let scratch = try Scratch()
      let content = try Sample.content()
      let disk = try Warmblk.add(
        try Sample.image(.lz4), "--trace", try scratch.write("reads", "0 \(content.count)\n"), "--warm-into",
        "page-cache")
      _ = try Warmblk.warmth(disk) { $0.state == "warm" }
      let ours = [try #require(try Warmblk.row(disk).pid)] + Guest.holders()
      #expect(ours.count == 2)
      try disk.reading(direct: false) { _ in
        let refused = try Warmblk.run("del", "-n", "\(disk.id)")
        #expect(refused.status == 1 && refused.errors.contains("pid \(getpid())"), "\(refused)")
        for pid in ours { #expect(!refused.errors.contains("pid \(pid)"), "\(refused)") }
      }
      #expect(try Warmblk.warmth(disk).pageCache?.isHeld ?? false)
      #expect(try readsOfAnother(disk, whole(content.count)) == 0)
      try Warmblk.del(disk)
      // By force, while somebody has it open, as any other.
      let again = try Warmblk.add(
        try Sample.image(.lz4), "--trace", scratch("reads"), "--warm-into", "page-cache")
      _ = try Warmblk.warmth(again) { $0.state == "warm" }
      let reader = try Reader(again)
      let forced = try Warmblk.run("del", "-n", "\(again.id)", "--force")
      #expect(forced.succeeded && forced.seconds < 15, "\(forced)")
      try reader.waitForError(seconds: 5)
    }

    @Test("a disk that is held is held by the next server too, and what is in memory stays while somebody has it open")
    func handedOver() throws {
      let scratch = try Scratch()
      let content = try Sample.content()
      let disk = try Warmblk.add(
        try Sample.image(.lz4), "--trace", try scratch.write("reads", "0 \(content.count)\n"), "--warm-into",
        "page-cache")
      _ = try Warmblk.warmth(disk) { $0.state == "warm" }
      try disk.reading(direct: false) { _ in
        for _ in 0..<2 {
          let outcome = try Warmblk.run("upgrade", "-n", "\(disk.id)")
          #expect(outcome.succeeded, "\(outcome)")
          let warm = try Warmblk.warmth(disk) { $0.state == "held" }
          #expect(warm.pageCache?.isHeld == true && warm.pageCache?.filledBytes == 0, "\(warm)")
          #expect(try need(Guest.binary, "list").contains(" held "))
        }
      }
      for _ in 0..<2 { #expect(try readsOfAnother(disk, whole(content.count)) == 0) }
      // Now nobody has it open but the server that ends.
      #expect(try Warmblk.run("upgrade", "-n", "\(disk.id)").succeeded)
      _ = try Warmblk.warmth(disk) { $0.state == "held" }
      #expect(try readsOfAnother(disk, whole(content.count)) > 0)
      #expect(try readsOfAnother(disk, whole(content.count)) == 0)
      try Warmblk.del(disk)
    }

    @Test("mount, mkfs, partition scans and exclusive openings do what they do on a disk that nobody holds")
    func others() throws {
      let image = try MountedImage()
      let scratch = try Scratch()
      let trace = try scratch.write("reads", "0 \(8 << 20)\n")
      var complaints: [String] = []
      for words in [[], ["--trace", trace, "--warm=wait", "--warm-into", "page-cache"]] {
        let outcome = try Warmblk.start(["add", "--config", image.config] + words).wait(seconds: 60)
        try #require(outcome.succeeded, "\(outcome)")
        let disk = Disk(id: 0)
        let isHeld = !words.isEmpty
        if isHeld { #expect(try Warmblk.warmth(disk).pageCache?.isHeld ?? false) }
        // What was in no layer is not filled; once it is read it stays like the rest.
        if isHeld { _ = try readsOfAnother(disk, whole(8 << 20)) }
        // Not because it is in use: it is read-only.
        let mkfs = try run("mke2fs", "-F", disk.path)
        #expect(mkfs.status != 0 && !mkfs.errors.contains("in use"), "\(mkfs)")
        complaints.append(mkfs.errors)
        _ = try Descriptor.open(disk.path, O_RDONLY | O_EXCL)
        if isHeld { #expect(try readsOfAnother(disk, whole(8 << 20)) == 0) }
        // From here on the kernel drops pages by itself, held or not.
        try need("blockdev", "--rereadpt", disk.path)
        let after = isHeld ? try readsOfAnother(disk, whole(8 << 20)) : 0
        try image.mount(disk)
        let mounted = isHeld ? try readsOfAnother(disk, whole(8 << 20)) : 0
        #expect(try need("tail", "-n", "1", image.file) == "400000")
        let refused = try Warmblk.run("del", "-n", "\(disk.id)")
        #expect(refused.status == 1 && refused.errors.contains(image.mountPoint), "\(refused)")
        try image.unmount()
        let unmounted = isHeld ? try readsOfAnother(disk, whole(8 << 20)) : 0
        try need("blockdev", "--flushbufs", disk.path)
        let flushed = isHeld ? try readsOfAnother(disk, whole(8 << 20)) : 0
        if isHeld {
          print("reads after rereadpt: \(after), mounted: \(mounted), unmounted: \(unmounted), flushed: \(flushed)")
        }
        try Warmblk.del(disk)
      }
      #expect(complaints[0] == complaints[1])
    }

    @Test("what makes no sense is refused, and says what would")
    func refused() throws {
      let scratch = try Scratch()
      let config = try Sample.image(.lz4)
      let trace = try scratch.write("reads", "0 4096\n")
      for (words, status, text) in [
        (["--warm=off", "--warm-into", "page-cache"], 64, "leave --trace, --warm-into"),
        (["--warm=wait", "--warm-into", "memory"], 64, "memory"),
        (["--warm-into", "page-cache"], 1, "name one with --trace"),
        (["--trace", trace, "--warm-into", "page-cache", "--record", scratch("t")], 1, "use --warm-into blob"),
      ] as [([String], Int32, String)] {
        let outcome = try Warmblk.start(["add", "--config", config] + words).wait(seconds: 60)
        #expect(outcome.status == status && outcome.errors.contains(text), "\(outcome)")
      }
    }
  }
}
