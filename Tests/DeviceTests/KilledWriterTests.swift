import Glibc
import Posix
import TestSupport
import Testing

extension OnDevice {
  /// Servers that are killed while real programs write: nobody notices but for a pause.
  @Suite("Killed while written")
  struct KilledWriterTests {
    /// A real database that commits, reads back what it has committed, and looks at itself in the end. It does not grow with
    /// the speed of the machine: rows are replaced.
    private static let database = """
      import sqlite3, sys, time, random
      base = sqlite3.connect(sys.argv[1] + "/base", isolation_level=None)
      base.execute("pragma journal_mode=wal"); base.execute("pragma synchronous=full")
      base.execute("create table t(id integer primary key, text)")
      end, count, rows = time.time() + float(sys.argv[2]), 0, 4000
      while time.time() < end or count < 20:
          base.execute("begin")
          for _ in range(20):
              row = count % rows
              base.execute("insert or replace into t values(?, ?)", (row, str(row) * random.randint(1, 400)))
              count += 1
          base.execute("commit")
          row = random.randrange(min(count, rows))
          text = base.execute("select text from t where id = ?", (row,)).fetchone()[0]
          assert text == str(row) * (len(text) // len(str(row))), row
      base.close()
      base = sqlite3.connect(sys.argv[1] + "/base")
      assert base.execute("pragma integrity_check").fetchone() == ("ok",)
      assert base.execute("select count(*) from t").fetchone() == (min(count, rows),)
      print(count)
      """

    /// The next server is started by the watcher, or by a command.
    @Test(
      "a mounted file system, fio and sqlite live through servers that are killed",
      arguments: [("ext4", true), ("xfs", false)])
    func killed(kind: String, isWatched: Bool) throws {
      var random = SplitMix.announced("killed while written")
      let image = try WritableImage(.tmpfs, "--size", kind == "xfs" ? "320M" : "128M")
      let disk = isWatched ? try Warmblk.add(image.config) : try Warmblk.add(image.config, "--no-watch")
      try need("mkfs.\(kind)", "-q", disk.path)
      try need("mount", disk.path, image.mountPoint)
      let database = try Program(["python3", "-c", Self.database, image.mountPoint, "12"])
      let fio = try Program([
        "fio", "--name=check", "--directory=\(image.mountPoint)", "--rw=randwrite", "--bsrange=4k-64k", "--size=16M",
        "--ioengine=io_uring", "--direct=1", "--iodepth=8", "--verify=crc32c", "--verify_fatal=1", "--loops=3",
        "--aux-path=\(image.scratch.path)",
      ])
      // The watcher gives up after five deaths within a minute.
      for _ in 0..<(isWatched ? 3 : 5) {
        usleep(UInt32.random(in: 300_000..<1_500_000, using: &random))
        let pid = try #require(try Warmblk.row(disk).pid)
        kill(pid, SIGKILL)
        if isWatched {
          let isBack = Deadline(milliseconds: Guest.noticesDeathAtOnce ? 10_000 : 45_000).wait(interval: 20) {
            (try? Warmblk.row(disk)).map { $0.state == "live" && $0.pid != pid } ?? false
          }
          try #require(isBack, "nobody has started another server")
        } else {
          try need(Guest.binary, "recover", "-n", "\(disk.id)")
        }
      }
      for program in [database, fio] {
        let outcome = try program.wait(seconds: 90)
        #expect(outcome.succeeded, "\(outcome)")
      }
      try need("umount", image.mountPoint)
      try need(kind == "xfs" ? "xfs_repair" : "e2fsck", kind == "xfs" ? "-n" : "-fn", disk.path)
      try Warmblk.del(disk)
    }

    @Test("requests that were in flight, all that the device takes, are served by the next server")
    func full() throws {
      let image = try WritableImage(.tmpfs, "--size", "64M")
      let disk = try Warmblk.add(image.config, "--queues", "2", "--depth", "128", "--no-watch")
      let fio = try Program([
        "fio", "--name=full", "--filename=\(disk.path)", "--rw=randwrite", "--bs=4k", "--size=32M",
        "--offset_increment=32M", "--numjobs=2", "--cpus_allowed=0,1", "--cpus_allowed_policy=split",
        "--ioengine=io_uring", "--direct=1", "--iodepth=128",
        "--verify=crc32c", "--verify_fatal=1", "--aux-path=\(image.scratch.path)",
      ])
      try #require(Deadline(milliseconds: 30_000).wait(interval: 5) { disk.writes > 500 })
      let pid = try #require(try Warmblk.row(disk).pid)
      // It stops serving, and what it has fills up.
      kill(pid, SIGSTOP)
      try #require(Deadline(milliseconds: 10_000).wait(interval: 10) { disk.inFlight >= 256 })
      kill(pid, SIGKILL)
      try need(Guest.binary, "recover", "-n", "\(disk.id)", "--timeout", "60")
      let outcome = try fio.wait(seconds: 120)
      #expect(outcome.succeeded, "\(outcome)")
      try Warmblk.del(disk)
    }
  }
}
