import Glibc
import Posix
import Testing

extension OnDevice {
  struct RemovalTests {
    @Test("a disk that is being read is not taken away, unless by force: then its reader gets an error")
    func whileReading() throws {
      let disk = try Warmblk.add(try Sample.image(.lz4))
      let reader = try Reader(disk)
      let refused = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(refused.status == 1 && refused.errors.contains("pid \(reader.program.pid)"), "\(refused)")
      #expect(reader.program.isRunning)
      #expect(try Warmblk.row(disk).state == "live")
      let forced = try Warmblk.run("del", "-n", "\(disk.id)", "--force")
      #expect(forced.succeeded && forced.seconds < 15, "\(forced)")
      #expect(!fileExists(disk.path) && Guest.servers().isEmpty)
      try reader.waitForError(seconds: 5)
    }

    @Test("a server that is stopped is shown as paused, and does not keep its disk from being deleted")
    func stoppedServer() throws {
      let disk = try Warmblk.add(try Sample.image(.none))
      let server = try #require(try Warmblk.row(disk).pid)
      kill(server, SIGSTOP)
      let row = try Warmblk.row(disk)
      #expect(row.state == "paused" && row.problem?.contains("\(server)") ?? false, "\(row)")
      let outcome = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(outcome.succeeded && outcome.seconds < 15, "\(outcome)")
    }

    @Test("a stopped server with readers that wait is deleted by force")
    func stoppedServerWithReader() throws {
      let disk = try Warmblk.add(try Sample.image(.zstd))
      let server = try #require(try Warmblk.row(disk).pid)
      let reader = try Reader(disk)
      kill(server, SIGSTOP)
      let outcome = try Warmblk.run("del", "-n", "\(disk.id)", "--force")
      #expect(outcome.succeeded && outcome.seconds < 25, "\(outcome)")
      try reader.waitForError(seconds: 5)
    }

    @Test(
      "when a server is killed and nobody watches, its readers wait until its disk is taken away; then the number can be used again"
    )
    func killedServer() throws {
      let content = try Sample.content()
      let disk = try Warmblk.add(try Sample.image(.lz4), "--no-watch")
      let other = try Warmblk.add(try Sample.image(.none))
      let server = try #require(try Warmblk.row(disk).pid)
      let reader = try Reader(manyAtOnce: disk)
      kill(server, SIGKILL)
      try #require(Deadline(milliseconds: 10_000).wait { !Guest.servers().contains(server) })
      usleep(300_000)
      #expect(reader.program.isRunning && fileExists(disk.path), "a reader waits for the next server")
      let row = try Warmblk.row(disk)
      #expect(row.state == "dead" && row.problem?.contains("recover -n \(disk.id)") ?? false, "\(row)")
      try other.reading(direct: true) { try $0.compare(with: content, "the other disk") }
      let refused = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(refused.status == 1 && refused.errors.contains("is in use"), "\(refused)")
      try Warmblk.del(disk, "--force", "--timeout", "40", seconds: 60)
      try reader.waitForError(seconds: 5)
      let again = try Warmblk.add(try Sample.image(.zstd), "--id", "\(disk.id)")
      try again.reading(direct: true) { try $0.compare(with: content, whole: false, "the same number again") }
      try Warmblk.del(again)
      try Warmblk.del(other)
    }

    @Test("a device that got the number of another one is not taken away in its place")
    func sameNumber() throws {
      let disk = try Warmblk.add(try Sample.image(.lz4))
      let record = "/run/warmblk/\(disk.id).json"
      let text = Guest.text(record)
      // As a record is whose server has just ended, and its device with it.
      try need(
        "python3", "-c",
        """
        import json, sys
        state = json.load(open(sys.argv[1]))
        state["mark"] ^= 1
        state["server"]["pid"] = 1 << 22
        json.dump(state, open(sys.argv[1], "w"))
        """, record)
      let removal = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(removal.succeeded && !fileExists(record), "\(removal)")
      try disk.reading(direct: true) { try $0.compare(with: Sample.content(), whole: false, "it goes on") }
      try writeFileAtomically(record, Array(text.utf8))
      try Warmblk.del(disk)
    }

    @Test(
      "by force a mounted disk is gone within the time of the command, whether its server lives, is stopped or dead",
      arguments: [0, SIGSTOP, SIGKILL])
    func mounted(_ signal: Int32) throws {
      let image = try MountedImage()
      let disk = try Warmblk.add(image.config, "--no-watch")
      try image.mount(disk)
      let server = try #require(try Warmblk.row(disk).pid)
      if signal != 0 { kill(server, signal) }
      let outcome = try Warmblk.run("del", "-n", "\(disk.id)", "--force", "--timeout", "4")
      #expect(outcome.succeeded && outcome.seconds < 5.5, "\(outcome)")
      #expect(!fileExists(disk.path) && Guest.servers().isEmpty)
      try image.unmount()
    }

    @Test("a server that shall end while its disk is mounted waits for its own deadline, not for the driver's")
    func mountedServer() throws {
      let image = try MountedImage()
      let disk = Disk(id: 5)
      let server = try Warmblk.start(["serve", "--config", image.config, "--id", "5"])
      try #require(Deadline(milliseconds: 30_000).wait { (try? server.printed()) == "\(disk.path)\n" })
      try image.mount(disk)
      let began = monotonicNanoseconds()
      server.signal(SIGTERM)
      let outcome = try server.wait(seconds: 20)
      let took = Double(monotonicNanoseconds() - began) / 1e9
      #expect(!outcome.wasLate && (9..<13).contains(took), "\(took) s: \(outcome)")
      #expect(outcome.status == 1 && outcome.errors.contains("DEL_DEV of device 5"), "\(outcome)")
      #expect(!fileExists(disk.path) && Guest.nodes().isEmpty)
      try image.unmount()
    }

    @Test("what a shell gets from add is the path, and it does not wait for the server")
    func fromShell() throws {
      let script =
        #"d=$("$0" add --config "$1" 2>&1) && [ -b "$d" ] && "$0" del -n "${d#/dev/ublkb}" 2>&1 | cat"#
      let outcome = try run("bash", "-c", script, Guest.binary, try Sample.image(.none), seconds: 30)
      #expect(outcome.succeeded && outcome.output.isEmpty && outcome.errors.isEmpty, "\(outcome)")
    }
  }
}
