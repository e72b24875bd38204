import Glibc
import Posix
import Testing

extension OnDevice {
  /// Servers that die, and disks that do not.
  struct RecoveryTests {
    /// Seconds until the kernel has noticed a death at the latest, and a new server answers.
    private static var patience: Double { Guest.noticesDeathAtOnce ? 10 : 45 }

    private func server(_ disk: Disk) throws -> Int32 { try #require(try Warmblk.row(disk).pid) }

    /// Kills the server with no way to say goodbye, and returns its number.
    @discardableResult
    private func killServer(_ disk: Disk) throws -> Int32 {
      let pid = try server(disk)
      kill(pid, SIGKILL)
      return pid
    }

    private func waitForDeath(_ disk: Disk) throws {
      let isDead = Deadline(milliseconds: 5000).wait { (try? Warmblk.row(disk).state) == "dead" }
      try #require(isDead, "\(disk.path) is not dead")
    }

    private func waitForNext(_ disk: Disk, after pid: Int32) throws {
      let hasNext = Deadline(milliseconds: Int(Self.patience * 1000)).wait(interval: 10) {
        guard let row = try? Warmblk.row(disk) else { return false }
        return row.state == "live" && row.pid != pid
      }
      try #require(hasNext, "\(disk.path) has no new server: \(Guest.text("/run/warmblk/\(disk.id).log"))")
    }

    private func recover(_ words: String...) throws -> Outcome {
      try Warmblk.start(["recover"] + words).wait(seconds: Self.patience + 15)
    }

    @Test("a server that is killed under load is followed by another, and nobody who reads sees more than a pause")
    func watched() throws {
      let content = try Sample.content()
      let disk = try Warmblk.add(try Sample.image(.lz4))
      let crowd = try Reader(manyAtOnce: disk, depth: 16)
      let steady = try SteadyReader(disk, content)
      try steady.wait(reads: 20, seconds: 20)
      var pauses: [Double] = []
      for _ in 0..<2 {
        _ = steady.longest()
        let pid = try killServer(disk)
        try waitForNext(disk, after: pid)
        try steady.wait(reads: 10, seconds: Self.patience)
        pauses.append(steady.longest())
      }
      print("killed under load, the longest waits were \(pauses.map { "\(Int($0)) ms" })")
      try steady.stop()
      try crowd.stop(disk)
      try disk.reading(direct: true) { try $0.compare(with: content, "after two deaths") }
      let row = try Warmblk.row(disk)
      #expect(row.recoveries == 2 && row.errors == 0 && row.state == "live", "\(row)")
      #expect(row.requests ?? 0 > 1000, "the counters began anew: \(row)")
      try Warmblk.del(disk)
    }

    @Test("a mounted file system stays, and its files read as before")
    func mounted() throws {
      let image = try MountedImage()
      let disk = try Warmblk.add(image.config)
      try image.mount(disk)
      let before = try need("sha256sum", image.file)
      let pid = try killServer(disk)
      try need("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
      #expect(try need("sha256sum", image.file, seconds: Self.patience) == before)
      try waitForNext(disk, after: pid)
      try image.unmount()
      try Warmblk.del(disk)
    }

    @Test("the pause from death to the first read that is answered, by the watcher and by recover")
    func pause() throws {
      let content = try Sample.content()
      let disk = try Warmblk.add(try Sample.image(.none))
      let steady = try SteadyReader(disk, content)
      try steady.wait(reads: 100, seconds: 20)
      usleep(300_000)
      _ = steady.longest()
      let pid = try killServer(disk)
      try waitForNext(disk, after: pid)
      try steady.wait(reads: 100, seconds: Self.patience)
      print("pause by the watcher: \(steady.longest()) ms")
      try steady.stop()
      try Warmblk.del(disk)

      let alone = try Warmblk.add(try Sample.image(.none), "--no-watch")
      let reader = try SteadyReader(alone, content)
      try reader.wait(reads: 100, seconds: 20)
      try killServer(alone)
      try waitForDeath(alone)
      _ = reader.longest()
      let outcome = try recover("-n", "\(alone.id)")
      #expect(outcome.succeeded && outcome.output == "\(alone.path)\n" && outcome.errors.isEmpty, "\(outcome)")
      try reader.wait(reads: 100, seconds: 10)
      print("recover took \(outcome.seconds * 1000) ms")
      try reader.stop()
      try Warmblk.del(alone)
    }

    @Test("a queue of which the server had every tag is served on")
    func allTags() throws {
      let content = try Sample.content()
      let disk = try Warmblk.add(try Sample.image(.zstd), "--queues", "1", "--depth", "8")
      let crowd = try Reader(manyAtOnce: disk, depth: 16)
      let pid = try killServer(disk)
      try waitForNext(disk, after: pid)
      try disk.reading(direct: true) { try $0.compare(with: content, "after the death") }
      try crowd.stop(disk)
      try Warmblk.del(disk)
    }

    @Test("recover --all takes over what is dead, and only that; then there is nothing to do")
    func all() throws {
      let content = try Sample.content()
      let disks = try (0..<3).map { _ in try Warmblk.add(try Sample.image(.lz4), "--no-watch") }
      #expect(Guest.watchers().isEmpty)
      let live = try server(disks[1])
      for disk in [disks[0], disks[2]] { try killServer(disk) }
      for disk in [disks[0], disks[2]] { try waitForDeath(disk) }
      let outcome = try recover("--all")
      #expect(outcome.succeeded && outcome.output == "\(disks[0].path)\n\(disks[2].path)\n", "\(outcome)")
      #expect(try server(disks[1]) == live)
      for disk in disks { try disk.reading(direct: true) { try $0.compare(with: content, "\(disk.path)") } }
      let again = try recover("--all")
      #expect(again.succeeded && again.output.isEmpty && again.errors.contains("nothing to do"), "\(again)")
      let refused = try recover("-n", "\(disks[0].id)")
      #expect(refused.status == 1 && refused.errors.contains("upgrade -n \(disks[0].id)"), "\(refused)")
      #expect(Guest.watchers().isEmpty)
      #expect(try Warmblk.run("del", "--all").succeeded)
    }

    @Test("a device that is still waited for goes with its server, and recover --all leaves it to whoever waits")
    func waitedFor() throws {
      let registry = try RemoteSample.registry()
      let sample = try RemoteSample.lz4()
      let scratch = try Scratch()
      let config = try sample.config(scratch)
      let words = ["--cache", scratch("cache"), "--trace", try scratch.write("reads", "0 4194304\n")]
      // What opening the layer takes is here then.
      let opened = try Warmblk.add(config, words[0], words[1])
      try Warmblk.del(opened)
      registry.pause()
      defer { registry.goOn() }
      let add = try Warmblk.start(["add", "--config", config, "--warm=wait", "--timeout", "30"] + words)
      let disk = Disk(id: 0)
      try #require(
        Deadline(milliseconds: 20_000).wait(interval: 20) { (try? Warmblk.list())?.first?.state == "live" })
      let refused = try Warmblk.run("upgrade", "-n", "0")
      #expect(refused.status == 1 && refused.errors.contains("waits for it to be warm"), "\(refused)")
      // So that it cannot be quicker than those who look.
      add.signal(SIGSTOP)
      try killServer(disk)
      try waitForDeath(disk)
      let outcome = try recover("--all")
      #expect(outcome.succeeded && outcome.output.isEmpty && outcome.errors.contains("nothing to do"), "\(outcome)")
      let named = try recover("-n", "0")
      #expect(named.status == 1 && named.errors.contains("warmblk del -n 0"), "\(named)")
      #expect(try Warmblk.row(disk).problem?.contains("recover") == false)
      add.signal(SIGCONT)
      let ended = try add.wait(seconds: Self.patience + 15)
      #expect(ended.status == 1 && ended.errors.contains("ended by signal 9"), "\(ended)")
      #expect(!fileExists(disk.path) && Guest.stateFiles().isEmpty)
    }

    @Test("of two who recover a device at once one does it, and the other says so")
    func atOnce() throws {
      let disk = try Warmblk.add(try Sample.image(.none), "--no-watch")
      for _ in 0..<2 {
        try killServer(disk)
        try waitForDeath(disk)
        let both = try (0..<2).map { _ in try Warmblk.start(["recover", "-n", "\(disk.id)"]) }
        let outcomes = try both.map { try $0.wait(seconds: Self.patience + 15) }
        #expect(outcomes.filter(\.succeeded).count == 1, "\(outcomes)")
        let other = try #require(outcomes.first { !$0.succeeded })
        #expect(
          other.errors.contains("is being changed by") || other.errors.contains("a server that lives"), "\(other)")
        #expect(Guest.servers().count == 1)
      }
      try Warmblk.del(disk)
    }

    @Test("a live device is handed to a new server under load, again and again, without an error")
    func upgrade() throws {
      let content = try Sample.content()
      let disk = try Warmblk.add(try Sample.image(.lz4))
      let crowd = try Reader(manyAtOnce: disk, depth: 16)
      let steady = try SteadyReader(disk, content)
      try steady.wait(reads: 20, seconds: 20)
      var pids = [try server(disk)]
      var pauses: [Double] = []
      for _ in 0..<2 {
        _ = steady.longest()
        let outcome = try Warmblk.start(["upgrade", "-n", "\(disk.id)"]).wait(seconds: Self.patience + 15)
        #expect(outcome.succeeded && outcome.output == "\(disk.path)\n" && outcome.errors.isEmpty, "\(outcome)")
        try steady.wait(reads: 5, seconds: 20)
        pauses.append(steady.longest())
        pids.append(try server(disk))
      }
      print("upgraded under load, the longest waits were \(pauses.map { "\(Int($0)) ms" })")
      #expect(Set(pids).count == pids.count, "\(pids)")
      #expect(Guest.servers() == [pids.last!], "\(Guest.servers()), \(pids)")
      try steady.stop()
      try crowd.stop(disk)
      let row = try Warmblk.row(disk)
      #expect(row.recoveries == 2 && row.errors == 0, "\(row)")
      // The watcher looks after the last of them too.
      let pid = try killServer(disk)
      try waitForNext(disk, after: pid)
      try Warmblk.del(disk)
    }

    @Test("a record or a configuration that is spoilt is refused by name, and the disk waits until it is mended")
    func spoilt() throws {
      let content = try Sample.content()
      let scratch = try Scratch()
      let (config, layer) = try Sample.copy(.none, to: scratch)
      let disk = try Warmblk.add(config, "--no-watch")
      let steady = try SteadyReader(disk, content)
      try killServer(disk)
      try waitForDeath(disk)
      let path = "/run/warmblk/\(disk.id).json"
      let good = Guest.text(path)
      // NEED_GET_DATA, which no device of ours has.
      let features = try #require(UInt64(good.split(separator: "\"features\":")[1].prefix { $0.isNumber }))
      let cases: [(String, String)] = [
        ("", "is damaged"),
        (String(good.prefix(good.count / 2)), "is damaged"),
        (good.replacing(#""queues":2"#, with: #""queues":1"#), "has 2 queues, its record 1"),
        (good.replacing(#""depth":128"#, with: #""depth":64"#), "a depth of 128, its record 64"),
        (good.replacing(#""mark":"#, with: #""mark":1"#), "somebody else"),
        (good.replacing("\"features\":\(features)", with: "\"features\":\(features ^ 4)"), "features"),
        (good.replacing(#""size":"#, with: #""size":1"#), "bytes now"),
        (good.replacing(config, with: "/absent/image.json"), "/absent/image.json"),
      ]
      for (text, expected) in cases {
        #expect(text != good)
        try writeFileAtomically(path, Array(text.utf8))
        let outcome = try recover("-n", "\(disk.id)", "--timeout", "5")
        #expect(outcome.status == 1 && outcome.errors.contains(expected), "\(expected): \(outcome)")
        #expect(Guest.servers().isEmpty)
      }
      try writeFileAtomically(path, Array(good.utf8))
      try need("mv", layer, "\(layer).away")
      let outcome = try recover("-n", "\(disk.id)")
      #expect(outcome.status == 1 && outcome.errors.contains(layer), "\(outcome)")
      try need("mv", "\(layer).away", layer)
      #expect(try recover("-n", "\(disk.id)").succeeded)
      try steady.wait(reads: 20, seconds: 20)
      try steady.stop()
      try Warmblk.del(disk)
    }

    @Test("a device of which no server can be started is left alone after five attempts, which its log says")
    func givesUp() throws {
      let content = try Sample.content()
      let scratch = try Scratch()
      let (config, layer) = try Sample.copy(.lz4, to: scratch)
      let disk = try Warmblk.add(config)
      try need("mv", layer, "\(layer).away")
      try killServer(disk)
      let hasGivenUp = Deadline(milliseconds: 60_000).wait(interval: 50) {
        Guest.text("/run/warmblk/\(disk.id).log").contains("leaves \(disk.path) alone")
      }
      #expect(hasGivenUp, "\(Guest.text("/run/warmblk/\(disk.id).log"))")
      let row = try Warmblk.row(disk)
      #expect(row.state == "dead" && row.problem?.contains("recover -n \(disk.id)") ?? false, "\(row)")
      try need("mv", "\(layer).away", layer)
      #expect(try recover("-n", "\(disk.id)").succeeded)
      try disk.reading(direct: true) { try $0.compare(with: content, "mended") }
      // And it is watched again.
      let pid = try killServer(disk)
      try waitForNext(disk, after: pid)
      try Warmblk.del(disk)
    }

    @Test("one small process watches all devices; when it was killed the next command starts another")
    func watcher() throws {
      let disks = try Warmblk.add(each: [try Sample.image(.none), try Sample.image(.lz4)])
      try #require(
        Deadline(milliseconds: 5000).wait { Guest.watchers().count == 1 && fileExists("/run/warmblk/watch.lock") })
      usleep(200_000)
      let first = try #require(Guest.watchers().first)
      let kilobytes = try #require(Guest.kilobytes("RssAnon", in: "/proc/\(first)/status"))
      print("the watcher has \(kilobytes) kB of its own")
      #expect(kilobytes < 8192)
      kill(first, SIGKILL)
      try #require(Deadline(milliseconds: 5000).wait { Guest.watchers().isEmpty })
      let pid = try killServer(disks[0])
      try waitForDeath(disks[0])
      let third = try Warmblk.add(try Sample.image(.zstd))
      try waitForNext(disks[0], after: pid)
      #expect(Guest.watchers().count == 1)
      #expect(try Warmblk.run("del", "--all").succeeded)
      #expect(!fileExists(third.path))
      #expect(Deadline(milliseconds: 2000).wait { Guest.watchers().isEmpty && Guest.watcherFiles().isEmpty })
    }

    @Test("where systemd runs the watcher is a unit of its own; if that fails it is there all the same")
    func unit() throws {
      let scratch = try Scratch()
      try makeDirectories("/run/systemd/system")
      defer { _ = try? run("rm", "-r", "/run/systemd") }
      // Stands in for systemd's, for none runs here.
      let script = "#!/bin/sh\necho \"$@\" >\(scratch("words"))\nwhile [ \"$1\" != -- ]; do shift; done; shift\n"
      for (end, isUnit) in [("setsid \"$@\" </dev/null >/dev/null 2>&1 &", true), ("echo no bus >&2; exit 1", false)] {
        try scratch.write("systemd-run", script + end + "\n")
        try need("chmod", "755", scratch("systemd-run"))
        let outcome = try Program(
          ["sh", "-c", "PATH=$1:$PATH exec $0 add --config $2", Guest.binary, scratch.path, try Sample.image(.none)]
        ).wait(seconds: 60)
        #expect(outcome.succeeded && outcome.errors.contains("no bus") == !isUnit, "\(outcome)")
        let disk = Disk(id: 0)
        let words = Guest.text(scratch("words"))
        #expect(words.hasPrefix("--unit=warmblk-watch ") && words.hasSuffix("/warmblk watch\n"), "\(words)")
        #expect(Deadline(milliseconds: 5000).wait { Guest.watchers().count == 1 })
        let pid = try killServer(disk)
        try waitForNext(disk, after: pid)
        try Warmblk.del(disk)
        #expect(Deadline(milliseconds: 2000).wait { Guest.watchers().isEmpty && Guest.watcherFiles().isEmpty })
      }
    }

    @Test("serve --recover goes on with the disk of the one that was killed, for a supervisor that starts it again")
    func supervised() throws {
      let content = try Sample.content()
      let config = try Sample.image(.lz4)
      let disk = Disk(id: 6)
      let script = "while [ ! -e \"$1\" ]; do \"$0\" serve --config \"$2\" --id 6 --recover; done"
      let scratch = try Scratch()
      let supervisor = try Program(["bash", "-c", script, Guest.binary, scratch("stop"), config])
      try #require(Deadline(milliseconds: 30_000).wait { (try? supervisor.printed()) == "\(disk.path)\n" })
      let steady = try SteadyReader(disk, content)
      try steady.wait(reads: 20, seconds: 20)
      let pid = try killServer(disk)
      try waitForNext(disk, after: pid)
      try steady.wait(reads: 20, seconds: 20)
      #expect(Guest.watchers().isEmpty)
      let second = try Warmblk.run("serve", "--config", config, "--id", "6", "--recover")
      #expect(second.status == 1 && second.errors.contains("a server that lives"), "\(second)")
      let before = try server(disk)
      let outcome = try Warmblk.start(["upgrade", "-n", "6"]).wait(seconds: Self.patience + 15)
      #expect(outcome.succeeded, "\(outcome)")
      #expect(try server(disk) != before)
      try steady.wait(reads: 20, seconds: 20)
      try steady.stop()
      try scratch.write("stop", "")
      try Warmblk.del(disk)
      #expect(try supervisor.wait(seconds: 10).succeeded)
    }
  }
}
