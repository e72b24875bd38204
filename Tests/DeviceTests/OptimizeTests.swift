import FoundationEssentials
import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  /// `warmblk optimize`.
  struct OptimizeTests {
    /// An image with a file system; `/used` and `/unused` are 400 KiB of noise each.
    private struct Mountable {
      let scratch: Scratch
      let config: String
      let mountPoint: String

      init(_ make: String = "mke2fs -q -t ext4 -b 4096 -O ^has_journal -d source raw 16M") throws {
        scratch = try Scratch()
        let script = """
          set -eu; cd \(scratch.path); mkdir source mnt
          head -c 409600 /dev/urandom >source/used; head -c 409600 /dev/urandom >source/unused
          \(make)
          """
        try need("bash", "-c", script)
        config = try Warmblk.importing(scratch("raw"), to: scratch("image"), ["--compress", "lz4"])
        mountPoint = scratch("mnt")
      }
    }

    private func optimize(_ config: String, _ words: [String], _ command: String...) throws -> Program {
      try Warmblk.start(["optimize", "--config", config] + words + ["--"] + command)
    }

    /// The last line says what was read, how the command ended, and nothing went wrong.
    private func check(_ outcome: Outcome, status: Int32 = 0, _ words: String) {
      #expect(outcome.status == status && !outcome.wasLate, "\(outcome)")
      let line = outcome.errors.split(separator: "\n").last ?? ""
      #expect(line.contains(" of the disk") && line.contains(" 0 lost") && line.hasSuffix(words), "\(outcome)")
      #expect(LeavingNothing.leftovers.isEmpty, "\(outcome)")
    }

    @Test(
      "a command sees the image mounted, nobody else does, and the trace has the file that it reads and not the other",
      arguments: ["ext4", "erofs", "xfs", "journal"])
    func mounted(_ type: String) throws {
      let image =
        switch type {
        case "ext4": try Mountable()
        case "erofs": try Mountable("mkfs.erofs -T0 raw source >/dev/null; truncate -s %4096 raw")
        // One that was not unmounted, so that its journal would have to be replayed.
        case "journal":
          try Mountable(
            """
            mke2fs -q -t ext4 -b 4096 -d source raw 16M; mount -o loop raw mnt; date >mnt/new; sync -f mnt
            cp raw dirty; umount mnt; mv dirty raw
            """)
        default:
          try Mountable(
            """
            truncate -s 320M raw; mkfs.xfs -q raw; mount -o loop,nouuid raw mnt; cp source/* mnt; umount mnt
            """)
        }
      let before = try need("sha256sum", image.scratch("source/used")).prefix(64)
      let outcome = try optimize(
        image.config, ["-o", image.scratch("t"), "--mount", image.mountPoint], "sh", "-c",
        "sha256sum \(image.mountPoint)/used; grep ublkb /proc/self/mounts; grep -c ublkb /proc/\(getpid())/mounts"
      ).wait(seconds: 60)
      check(outcome, status: 1, "the command ended with status 1")
      let lines = outcome.output.split(separator: "\n")
      try #require(lines.count == 3, "\(outcome)")
      #expect(lines[0].hasPrefix(before) && lines[1].contains(" ro") && lines[2] == "0", "\(outcome)")
      let trace = try TraceFile(image.scratch("t"))
      #expect(trace.bytes >= 409_600 && trace.trace.accesses.allSatisfy { $0.layer == 0 })
      if type == "ext4" {
        for (name, isRead) in [("used", true), ("unused", false)] {
          let list = try need("debugfs", "-R", "blocks /\(name)", image.scratch("raw"))
          let blocks = list.split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
          try #require(blocks.count == 100)
          let covered = blocks.filter { trace.covers($0 * 4096..<($0 + 1) * 4096) }.count
          #expect(isRead ? covered == 100 : covered < 20, "\(name): \(covered) blocks are in the trace")
        }
      }
      #expect(try listDirectory(image.mountPoint).isEmpty)
      #expect(!(try listDirectory(image.scratch.path)).contains { $0.hasPrefix(".warmblk") })
    }

    @Test("a command without --mount gets the device's path and reads it raw")
    func raw() throws {
      let scratch = try Scratch()
      let outcome = try optimize(
        try Sample.image(.zstd), ["-o", scratch("t")], "sh", "-c",
        "dd if=$WARMBLK_DEVICE bs=4k skip=1000 count=50 iflag=direct status=none | sha256sum"
      ).wait(seconds: 60)
      check(outcome, "the command ended with status 0")
      let expected = try need("sh", "-c", "dd if=/dev/shm/sample.img bs=4k skip=1000 count=50 status=none | sha256sum")
      #expect(outcome.output == expected + "\n")
      let trace = try TraceFile(scratch("t"))
      #expect(trace.covers(1000 * 4096..<1050 * 4096) && trace.bytes < 100 * 4096)
    }

    @Test("a command that never ends is ended once it is idle, or its time is over, by force if it must be")
    func endless() throws {
      let scratch = try Scratch()
      let image = try Sample.image(.lz4)
      let read = "dd if=$WARMBLK_DEVICE of=/dev/null bs=4k skip=10 count=10 iflag=direct status=none"
      let idle = try optimize(
        image, ["-o", scratch("t"), "--until-idle", "1s"], "sh", "-c",
        "for i in 1 2 3 4; do dd if=$WARMBLK_DEVICE of=/dev/null bs=4k skip=$((i * 99)) count=1 iflag=direct status=none; "
          + "sleep 0.4; done; sleep 1000"
      ).wait(seconds: 60)
      check(idle, "the command was ended by signal 15 (Terminated) after nothing new was read for a while")
      #expect(try TraceFile(scratch("t")).covers(4 * 99 * 4096..<(4 * 99 + 1) * 4096))
      let time = try optimize(
        image, ["-o", scratch("u"), "--for", "1500ms"], "sh", "-c", "trap '' TERM; \(read); while :; do sleep 100; done"
      ).wait(seconds: 60)
      check(time, "the command was ended by signal 9 (Killed) after its time was over")
      #expect(time.seconds > 6, "\(time)")
      #expect(try TraceFile(scratch("u")).covers(10 * 4096..<20 * 4096))
    }

    @Test("what a command leaves behind goes with it, and one that fails leaves its trace and its status")
    func leftBehind() throws {
      let image = try Mountable()
      let outcome = try optimize(
        image.config, ["-o", image.scratch("t"), "--mount", image.mountPoint], "sh", "-c",
        "cd \(image.mountPoint); sleep 1000 & setsid sh -c 'exec <used; echo $$ >../pid; exec sleep 1001' & sleep 0.5; cat used >/dev/null; exit 7"
      ).wait(seconds: 60)
      check(outcome, status: 7, "the command ended with status 7")
      #expect(outcome.errors.contains("taking it away all the same") && outcome.errors.contains("sleep"), "\(outcome)")
      #expect(try run("pgrep", "-f", "sleep 1000").status == 1)
      #expect(try TraceFile(image.scratch("t")).bytes >= 409_600)
      kill(try #require(Int32(Guest.text(image.scratch("pid")).dropLast())), SIGKILL)
    }

    @Test("a command or a mount that is not possible leaves no device and no file, and says why")
    func impossible() throws {
      let scratch = try Scratch()
      let sample = try Sample.image(.none)
      func failure(_ words: [String], _ command: String) throws -> String {
        let outcome = try optimize(sample, ["-o", scratch("t")] + words, command).wait(seconds: 60)
        #expect(outcome.status == 1 && !outcome.wasLate && LeavingNothing.leftovers.isEmpty, "\(outcome)")
        #expect(try listDirectory(scratch.path).isEmpty, "\(outcome)")
        return outcome.errors
      }
      #expect(try failure([], "no-such-program").contains("run no-such-program: No such file"))
      #expect(try failure([], scratch.path).contains("Permission denied"))
      #expect(try failure(["--mount", "/mnt"], "true").contains("name its file system with --type"))
      #expect(try failure(["--mount", "/mnt", "--type", "nofs"], "true").contains("on /mnt as nofs"))
      try scratch.write("t", "mine")
      let outcome = try optimize(sample, ["-o", scratch("t")], "true").wait(seconds: 60)
      #expect(outcome.status == 1 && outcome.errors.contains("is there already"), "\(outcome)")
      #expect(Guest.text(scratch("t")) == "mine")
      let folder = try optimize(sample, ["-o", scratch.path, "--force"], "true").wait(seconds: 60)
      #expect(folder.status == 1 && folder.errors.contains("is there and no file"), "\(folder)")
    }

    @Test("Ctrl-C ends command and device and keeps the trace; a killed optimize takes both with it")
    func signals() throws {
      for number in [SIGINT, SIGTERM, SIGKILL] {
        let scratch = try Scratch()
        let program = try optimize(
          try Sample.image(.lz4), ["-o", scratch("t")], "sh", "-c",
          "dd if=$WARMBLK_DEVICE of=/dev/null bs=4k skip=30 count=5 iflag=direct status=none; echo here; exec sleep 1002"
        )
        #expect(Deadline(milliseconds: 30_000).wait { (try? program.printed()) == "here\n" })
        program.signal(number)
        let outcome = try program.wait(seconds: 30)
        #expect(outcome.status == 128 + number && !outcome.wasLate, "\(outcome)")
        #expect(Deadline(milliseconds: 20_000).wait { LeavingNothing.leftovers.isEmpty }, "\(LeavingNothing.leftovers)")
        #expect(try run("pgrep", "-f", "sleep 1002").status == 1)
        if number == SIGKILL { continue }
        check(outcome, status: 128 + number, "signal 15 (Terminated) after signal \(number) came")
        #expect(try TraceFile(scratch("t")).covers(30 * 4096..<35 * 4096))
      }
    }

    @Test("Ctrl-C while the device is being made, and its registry is silent, leaves nothing")
    func cancelled() throws {
      let registry = try RemoteSample.registry()
      let scratch = try Scratch()
      let config = try RemoteSample.lz4().config(scratch)
      registry.pause()
      defer { registry.goOn() }
      let program = try optimize(config, ["-o", scratch("t"), "--no-cache"], "true")
      usleep(1_500_000)
      #expect(program.isRunning)
      program.signal(SIGINT)
      let outcome = try program.wait(seconds: 20)
      #expect(outcome.status == 130 && !outcome.wasLate, "\(outcome)")
      #expect(outcome.errors.contains("cancelled before true was started"), "\(outcome)")
      #expect(LeavingNothing.leftovers.isEmpty)
      #expect(try listDirectory(scratch.path) == ["remote.json"])
    }

    @Test("overlaybd's form: the configuration replays by itself, and the layer is what Go's archive/tar would write")
    func accelerationLayer() throws {
      _ = try RemoteSample.registry()
      let sample = try RemoteSample.stack()
      let scratch = try Scratch()
      let config = try sample.config(scratch)
      let layer = scratch("layer")
      let outcome = try optimize(
        config, ["--acceleration-layer", layer, "-o", scratch("t"), "--no-cache"], "sh", "-c",
        "for i in 50 700 1400 2000; do dd if=$WARMBLK_DEVICE of=/dev/null bs=4k skip=$i count=20 iflag=direct status=none; done"
      ).wait(seconds: 60)
      check(outcome, "the command ended with status 0")
      #expect(try listDirectory(layer).sorted() == ["config.v1.json", "layer.tar", "trace"])
      #expect(try need("tar", "-tvf", "\(layer)/layer.tar").hasPrefix("-r--r--r-- 0/0"))
      #expect(try need("tar", "-tf", "\(layer)/layer.tar") == "trace")
      let extracted = try need(
        "sh", "-c", "tar -xOf \(layer)/layer.tar trace | cmp - \(layer)/trace && sha256sum \(layer)/layer.tar")
      #expect(outcome.errors.contains("sha256:\(extracted.prefix(64))"), "\(outcome)")
      let trace = try TraceFile.overlaybd("\(layer)/trace")
      #expect(Set(trace.records.map(\.layer)) == [0, 1, 2, 3] && trace.records.allSatisfy { $0.count <= 1 << 20 })
      #expect(try readFile("\(layer)/trace") == trace.encoded(), "padding that is not zero")
      try replay("\(layer)/config.v1.json", layer, scratch)
    }

    private func replay(_ config: String, _ layer: String, _ scratch: Scratch) throws {
      struct Document: Decodable {
        struct Lower: Decodable { var dir: String?, digest: String? }
        var lowers: [Lower]
        var accelerationLayer: Bool
      }
      let document: Document = try Warmblk.decoded(Guest.text(config))
      #expect(document.accelerationLayer && document.lowers.count == 5)
      #expect(document.lowers.last?.dir == layer && document.lowers.last?.digest == nil)
      struct Row: Decodable {
        struct Warm: Decodable { var state: String, wantedBytes: UInt64, fetchedBytes: UInt64 }
        var warm: Warm?
      }
      let outcome = try Warmblk.start(["add", "--config", config, "--warm", "--cache", scratch("cache")]).wait(
        seconds: 60)
      try #require(outcome.succeeded, "\(outcome)")
      let disk = Disk(id: 0)
      let rows: [Row] = try Warmblk.decoded(try Warmblk.run("list", "--json").output)
      let warm = try #require(rows.first?.warm)
      #expect(warm.state == "warm" && warm.wantedBytes > 40_000 && warm.fetchedBytes > 40_000, "\(warm)")
      let (_, requests) = try RemoteSample.registry().requests {
        for skip in [50, 700, 1400, 2000] {
          try need(
            "dd", "if=\(disk.path)", "of=/dev/null", "bs=4k", "skip=\(skip)", "count=20", "iflag=direct", "status=none")
        }
      }
      #expect(requests.isEmpty, "what was recorded was not all fetched: \(requests)")
      try Warmblk.del(disk)
    }
  }
}
