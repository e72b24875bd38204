import Glibc
import Posix
import Testing

extension OnDevice {
  /// Servers of writable disks that die, or are replaced, while they are written to.
  struct WritableRecoveryTests {
    private static var patience: Double { Guest.noticesDeathAtOnce ? 10 : 45 }

    private func waitForNext(_ disk: Disk, after pid: Int32) throws {
      let hasNext = Deadline(milliseconds: Int(Self.patience * 1000)).wait(interval: 10) {
        guard let row = try? Warmblk.row(disk) else { return false }
        return row.state == "live" && row.pid != pid
      }
      try #require(hasNext, "\(disk.path) has no new server: \(Guest.text("/run/warmblk/\(disk.id).log"))")
    }

    /// Writes for a while, with something that happens to the server meanwhile; then all that was written must be there,
    /// also when the disk is made anew.
    private func write(_ image: WritableImage, _ depth: Int, _ happening: (Disk) throws -> Void) throws {
      var disk = try Warmblk.add(image.config)
      let scratch = try Scratch(.tmpfs)
      func fio(_ words: String...) throws -> Program {
        let command = [
          "fio", "--name=write", "--filename=\(disk.path)", "--rw=randwrite", "--bsrange=512-32k", "--randseed=7",
          "--size=12M", "--ioengine=io_uring", "--direct=1", "--iodepth=\(depth)", "--thread", "--verify=crc32c",
          "--verify_fatal=1", "--fsync=64",
        ]
        return try Program(["sh", "-c", "cd \"$0\" && exec \"$@\"", scratch.path] + command + words)
      }
      // Slow enough for all of the happenings to come in the middle of it.
      let writer = try fio("--do_verify=1", "--rate=2500k")
      try #require(
        Deadline(milliseconds: 30_000).wait(interval: 5) { ((try? Warmblk.row(disk).writtenBytes) ?? 0) > 0 })
      for _ in 0..<2 {
        let before = try Warmblk.row(disk)
        try happening(disk)
        try waitForNext(disk, after: try #require(before.pid))
        #expect(writer.isRunning)
        usleep(300_000)
      }
      let written = try writer.wait(seconds: 120)
      #expect(written.succeeded, "\(written)")
      let row = try Warmblk.row(disk)
      #expect(row.recoveries == 2 && row.errors == 0, "\(row)")
      try Warmblk.del(disk)
      disk = try Warmblk.add(image.config)
      let checked = try fio("--verify_only").wait(seconds: 120)
      #expect(checked.succeeded, "\(checked)")
      try Warmblk.del(disk)
    }

    @Test("what was acknowledged is there when servers are killed while they write", arguments: [4, 128])
    func killed(_ depth: Int) throws {
      let image = try WritableImage(.ext4, "--parent", try Sample.image(.lz4), "--size", "32M")
      try write(image, depth) { disk in kill(try #require(try Warmblk.row(disk).pid), SIGKILL) }
    }

    @Test("what was acknowledged is there when servers are replaced while they write")
    func upgraded() throws {
      let image = try WritableImage(.tmpfs, "--size", "32M")
      try write(image, 16) { disk in
        let outcome = try Warmblk.start(["upgrade", "-n", "\(disk.id)"]).wait(seconds: Self.patience + 15)
        #expect(outcome.succeeded && outcome.errors.isEmpty, "\(outcome)")
      }
    }

    @Test("a mounted ext4 that is written to outlives its servers, and is clean")
    func mounted() throws {
      let image = try WritableImage(.ext4, "--size", "96M")
      let disk = try Warmblk.add(image.config)
      try need("mkfs.ext4", "-q", disk.path)
      try need("mount", disk.path, image.mountPoint)
      let script = """
        cd $0; for i in $(seq 30); do seq $((i * 1000)) >$i.new; sync -f $i.new; mv $i.new $i; done
        for i in $(seq 30); do seq $((i * 1000)) | cmp - $i; done
        """
      let writer = try Program(["bash", "-euc", script, image.mountPoint])
      for _ in 0..<2 {
        usleep(500_000)
        let pid = try #require(try Warmblk.row(disk).pid)
        kill(pid, SIGKILL)
        try waitForNext(disk, after: pid)
      }
      let outcome = try writer.wait(seconds: 120)
      #expect(outcome.succeeded, "\(outcome)")
      try need("umount", image.mountPoint)
      try need("e2fsck", "-fn", disk.path)
      try Warmblk.del(disk)
    }

    @Test(
      "a disk whose server died while it grew can be grown again",
      .disabled(if: Guest.kernel == "6.12", "this kernel's driver cannot; WritableToolTests has what is said then"))
    func growing() throws {
      let image = try WritableImage(.tmpfs, "--parent", try Sample.image(.lz4), "--size", "32M")
      let disk = try Warmblk.add(image.config, "--no-watch")
      let before = try need("sh", "-c", "head -c 8M $0 | md5sum", disk.path)
      kill(try #require(try Warmblk.row(disk).pid), SIGKILL)
      try #require(Deadline(milliseconds: 5000).wait { (try? Warmblk.row(disk).state) == "dead" })
      // As far as a server gets that dies before it has told the driver.
      try need(Guest.binary, "resize", "--config", image.config, "64M")
      #expect(try Warmblk.start(["recover", "-n", "\(disk.id)"]).wait(seconds: Self.patience + 15).succeeded)
      #expect(try Warmblk.row(disk).size == 32 << 20)
      for _ in 0..<2 {
        try need(Guest.binary, "resize", "-n", "\(disk.id)", "64M")
        #expect(try Warmblk.row(disk).size == 64 << 20 && disk.attribute("size") == "\((64 << 20) / 512)")
      }
      #expect(try need("sh", "-c", "head -c 8M $0 | md5sum", disk.path) == before)
      #expect(try need("sh", "-c", "tail -c 32M $0 | tr -d '\\000' | wc -c", disk.path) == "0")
      try Warmblk.del(disk)
    }

    @Test("del waits for a server that stores what was written, and says what is left of one that it kills")
    func slowFlush() throws {
      let image = try WritableImage(.xfs, "--size", "32M")
      let place = try need("stat", "-c", "%m", image.data).split(separator: "\n")[0]
      for isEnough in [true, false] {
        let disk = try Warmblk.add(image.config)
        try need("dd", "if=/dev/urandom", "of=\(disk.path)", "bs=64k", "count=16", "oflag=direct", "status=none")
        let sum = try need("sh", "-c", "head -c 1M $0 | md5sum", disk.path)
        try #require(
          Deadline(milliseconds: 5000).wait { ((try? Warmblk.row(disk).written?.pendingEntries) ?? 0) > 0 })
        // Nothing of its file system gets to the disk from here on.
        try need("fsfreeze", "-f", String(place))
        var isFrozen = true
        defer { if isFrozen { _ = try? run("fsfreeze", "-u", String(place)) } }
        let del = try Warmblk.start(["del", "-n", "\(disk.id)", "--timeout", "6"])
        usleep(isEnough ? 4_300_000 : 5_900_000)
        #expect(del.isRunning || !isEnough)
        try need("fsfreeze", "-u", String(place))
        isFrozen = false
        let outcome = try del.wait(seconds: 20)
        #expect(outcome.succeeded && outcome.errors.contains("Nothing is lost") == !isEnough, "\(outcome)")
        #expect(!outcome.errors.contains("did not end in time"), "\(outcome)")
        let again = try Warmblk.addWarned(image.config)
        #expect(try need("sh", "-c", "head -c 1M $0 | md5sum", again.path) == sum)
        try Warmblk.del(again)
        #expect(Guest.stateFiles().isEmpty)
      }
    }

    @Test("a signal that comes long after the disk was stopped does not end a server that stores what was written")
    func lateSignal() throws {
      let image = try WritableImage(.xfs, "--size", "32M")
      let place = String(try need("stat", "-c", "%m", image.data).split(separator: "\n")[0])
      let disk = try Warmblk.add(image.config)
      try need("dd", "if=/dev/urandom", "of=\(disk.path)", "bs=64k", "count=16", "oflag=direct", "status=none")
      let server = try #require(try Warmblk.row(disk).pid)
      try need("fsfreeze", "-f", place)
      var isFrozen = true
      defer { if isFrozen { _ = try? run("fsfreeze", "-u", place) } }
      let del = try Warmblk.start(["del", "-n", "\(disk.id)"])
      // Where the driver stops a disk that nobody has open, `del` has that done first, and sends its signal then.
      while fileExists("/sys/block/ublkb\(disk.id)"), del.isRunning { sched_yield() }
      del.signal(SIGSTOP)
      usleep(500_000)
      del.signal(SIGCONT)
      usleep(500_000)
      #expect(Guest.servers().contains(server) && del.isRunning)
      try need("fsfreeze", "-u", place)
      isFrozen = false
      let outcome = try del.wait(seconds: 20)
      #expect(outcome.succeeded && Guest.stateFiles().isEmpty, "\(outcome)")
    }

    @Test("an image that lost its upper, or got one, is not served in the place of what it was")
    func otherKind() throws {
      let image = try WritableImage(.ext4, "--parent", try Sample.image(.none))
      let disk = try Warmblk.add(image.config, "--no-watch")
      kill(try #require(try Warmblk.row(disk).pid), SIGKILL)
      try #require(Deadline(milliseconds: 5000).wait { (try? Warmblk.row(disk).state) == "dead" })
      let good = Guest.text(image.config)
      try writeFileAtomically(image.config, try readFile(try Sample.image(.none)))
      // Layers beside the other configuration.
      try need("ln", "-s", try Sample.layerFile(.none), image.scratch("disk/overlaybd.commit"))
      let refused = try Warmblk.run("recover", "-n", "\(disk.id)")
      #expect(refused.status == 1 && refused.errors.contains("was made with a writable layer"), "\(refused)")
      try writeFileAtomically(image.config, Array(good.utf8))
      let outcome = try Warmblk.start(["recover", "-n", "\(disk.id)"]).wait(seconds: Self.patience + 15)
      #expect(outcome.succeeded && outcome.output == "\(disk.path)\n", "\(outcome)")
      try Warmblk.del(disk)
    }
  }
}
