import Glibc
import Posix
import Testing

extension OnDevice {
  /// How devices come and go.
  @Suite struct LifeTests {
    /// A disk of 16 MiB: noise, then text that compresses, then nothing.
    static func raw(_ scratch: Scratch, seed: UInt64 = 1) throws -> String {
      var random = SplitMix(state: seed)
      let text = (0..<200_000).flatMap { Array("line \($0 &* Int(seed))\n".utf8) }
      let path = try scratch.write("raw.\(seed)", random.bytes(4 << 20) + text)
      try Descriptor.open(path, O_RDWR).truncate(to: 16 << 20)
      return path
    }

    @Test("devices at once have their own content, number and line in the list")
    func several() throws {
      let scratch = try Scratch()
      let raws = try (1...4).map { try Self.raw(scratch, seed: UInt64($0)) }
      let configs = try raws.enumerated().map {
        try Warmblk.importing($1, to: scratch("image\($0)"), "--compress", ["none", "lz4", "zstd", "lz4"][$0])
      }
      let disks = try Warmblk.add(each: configs)
      for (disk, raw) in zip(disks, raws) {
        try disk.reading(direct: true) { try $0.compare(with: RawContent(raw), "\(disk.path)") }
      }
      let rows = try Warmblk.list()
      #expect(rows.map(\.id).sorted() == disks.map(\.id).sorted())
      #expect(rows.allSatisfy { $0.state == "live" && $0.errors == 0 && $0.requests! > 0 && $0.size == 16 << 20 })
      for disk in disks { try Warmblk.del(disk) }
    }

    @Test("a number that is taken is refused, and nothing of the second device stays")
    func takenNumber() throws {
      let scratch = try Scratch()
      let config = try Warmblk.importing(try Self.raw(scratch), to: scratch("image"))
      let disk = try Warmblk.add(config, "--id", "7")
      #expect(disk.id == 7)
      let second = try Warmblk.run("add", "--config", config, "--id", "7")
      #expect(second.status == 1 && second.output.isEmpty && second.errors.contains("7"), "\(second)")
      #expect(try Warmblk.list().map(\.id) == [7])
      try disk.reading(direct: true) { #expect($0.failure(4096, at: 0) == nil) }
      try Warmblk.del(disk)
    }

    @Test("two hundred devices one after another leave no memory, node, file or process", .timeLimit(.minutes(10)))
    func loop() throws {
      let scratch = try Scratch()
      let config = try Warmblk.importing(try Self.raw(scratch), to: scratch("image"), "--compress", "lz4")
      func slab() -> Int { Guest.kilobytes("SUnreclaim", in: "/proc/meminfo")! }
      var before = 0
      for round in 0..<25 {
        // The kernel's own caches fill in the first rounds.
        if round == 5 { before = slab() }
        let disks = try Warmblk.add(each: [String](repeating: config, count: 8))
        #expect(Set(disks.map(\.id)).count == 8)
        let outcome = try Warmblk.run("del", "--all")
        #expect(outcome.succeeded && Guest.nodes().isEmpty && Guest.stateFiles().isEmpty, "\(outcome)")
      }
      let grown = slab() - before
      #expect(grown < 8 << 10, "the kernel's memory grew by \(grown) KiB in 160 devices")
    }

    @Test("an open device is refused with its reader's name, and taken away by force")
    func openDevice() throws {
      let scratch = try Scratch()
      let config = try Warmblk.importing(try Self.raw(scratch), to: scratch("image"), "--compress", "zstd")
      let disk = try Warmblk.add(config)
      let reader = try Self.reader(disk)
      let refused = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(refused.status == 1 && refused.errors.contains("\(reader.pid)"), "\(refused)")
      #expect(reader.isRunning)
      try Warmblk.del(disk, "--force", seconds: 30)
      #expect(!(try reader.wait(seconds: 10)).succeeded)
    }

    @Test("a mounted device is refused with its mount point, and free after it is unmounted")
    func mounted() throws {
      let scratch = try Scratch()
      let config = try MountTests.image(scratch).config
      let disk = try Warmblk.add(config)
      try makeDirectories(scratch("mnt"))
      try need("mount", "-o", "ro", disk.path, scratch("mnt"))
      let refused = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(refused.status == 1 && refused.errors.contains(scratch("mnt")), "\(refused)")
      try need("umount", scratch("mnt"))
      try Warmblk.del(disk)
    }

    @Test("a server that is killed takes its disk along; readers get an error, other devices go on")
    func killed() throws {
      let scratch = try Scratch()
      let config = try Warmblk.importing(try Self.raw(scratch), to: scratch("image"), "--compress", "lz4")
      let disks = try Warmblk.add(each: [config, config])
      let reader = try Self.reader(disks[0])
      kill(try #require(try Warmblk.row(disks[0]).pid), SIGKILL)
      // Before 7.0 the driver's own timer, 30 s, may have to find it out.
      let ended = try reader.wait(seconds: Guest.noticesDeathAtOnce ? 10 : 40)
      #expect(!ended.succeeded && !ended.wasLate, "\(ended)")
      #expect(Deadline(milliseconds: 5000).wait { !fileExists(disks[0].path) })
      #expect(try Warmblk.row(disks[0]).state == "dead")
      try disks[1].reading(direct: true) { #expect($0.failure(4096, at: 0) == nil) }
      try Warmblk.del(disks[0])
      try Warmblk.del(disks[1])
    }

    @Test("a server that is stopped by a signal is let go on and removed in time")
    func stopped() throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(try Warmblk.importing(try Self.raw(scratch), to: scratch("image")))
      kill(try #require(try Warmblk.row(disk).pid), SIGSTOP)
      try Warmblk.del(disk, seconds: 25)
    }

    @Test("serve in the foreground prints the path, and SIGTERM ends it and the device")
    func foreground() throws {
      let scratch = try Scratch()
      let config = try Warmblk.importing(try Self.raw(scratch), to: scratch("image"))
      let server = try Warmblk.start(["serve", "--config", config])
      #expect(Deadline(milliseconds: 20_000).wait { (try? server.printed().hasSuffix("\n")) ?? false })
      let path = try server.printed().dropLast()
      #expect(fileExists(String(path)))
      server.signal(SIGTERM)
      let outcome = try server.wait(seconds: 10)
      #expect(outcome.succeeded, "\(outcome)")
      #expect(!fileExists(String(path)))
    }

    @Test("an idle device holds little memory, and gives back what a load took")
    func memory() throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(
        try Warmblk.importing(try Self.raw(scratch), to: scratch("image"), "--compress", "zstd"))
      let pid = try #require(try Warmblk.row(disk).pid)
      func anonymous() -> Int { Guest.kilobytes("Anonymous", in: "/proc/\(pid)/smaps_rollup") ?? .max }
      #expect(anonymous() <= 3 << 10, "\(anonymous()) KiB when idle")
      try need(
        "fio", "--name=use", "--filename=\(disk.path)", "--readonly", "--direct=1", "--ioengine=io_uring",
        "--rw=randread", "--bs=256k", "--iodepth=32", "--size=16M")
      let isSmall = Deadline(milliseconds: 8000).wait(interval: 100) { anonymous() <= 3 << 10 }
      #expect(isSmall, "\(anonymous()) KiB some seconds after a load")
      try Warmblk.del(disk)
    }

    /// A process that reads the disk without an end.
    static func reader(_ disk: Disk) throws -> Program {
      let reader = try Program([
        "fio", "--name=reader", "--filename=\(disk.path)", "--readonly", "--direct=1", "--ioengine=io_uring",
        "--rw=randread", "--bs=4k", "--iodepth=8", "--time_based", "--runtime=120",
      ])
      let before = try Warmblk.row(disk).requests ?? 0
      let isReading = Deadline(milliseconds: 20_000).wait(interval: 50) {
        ((try? Warmblk.row(disk).requests) ?? 0) ?? 0 > before + 50
      }
      try #require(isReading, "the reader does not read")
      return reader
    }
  }
}
