import Glibc
import Posix
import TestSupport
import Testing

extension OnDevice {
  /// Uppers that become layers, and that are compacted, while they are written.
  struct SnapshotTests {
    private struct Report: Decodable {
      var layer: String
      var upper: String
      var layerBytes: UInt64
      var pausesMicroseconds: [UInt64]
    }

    private struct Compaction: Decodable {
      var outcome: String
      var deadBytes: UInt64
      var freedBytes: UInt64
    }

    private func snapshot(_ disk: Disk, _ folder: String) throws -> Report {
      let outcome = try Warmblk.run("snapshot", "-n", "\(disk.id)", "--new-upper", folder, "--json")
      try #require(outcome.succeeded, "\(outcome)")
      return try Warmblk.decoded(outcome.output)
    }

    /// fio writes at random, from several threads, and checks in the end what it wrote, which `checks` does again.
    private func load(_ disk: Disk, _ scratch: Scratch, checks: Bool = false) throws -> Program {
      try Program(
        [
          "fio", "--name=snap", "--filename=\(disk.path)", "--rw=randwrite", "--bsrange=4k-12k", "--size=12M",
          "--offset_increment=12M", "--numjobs=2", "--thread", "--ioengine=io_uring", "--direct=1", "--iodepth=8",
          "--randseed=7", "--verify=crc32c", "--verify_fatal=1", "--fsync=50", "--aux-path=\(scratch.path)",
        ] + (checks ? ["--verify_only"] : ["--rate_iops=,120", "--do_verify=1"]))
    }

    /// Adds an image again, checks what `load` has written, and removes it; the layers that it had.
    @discardableResult
    private func checkAgain(_ config: String, _ scratch: Scratch) throws -> [String] {
      let disk = try Warmblk.add(config)
      let layers = try #require(try Warmblk.row(disk).layers)
      let check = try load(disk, scratch, checks: true).wait(seconds: 60)
      #expect(check.succeeded, "\(check)")
      try Warmblk.del(disk)
      return layers
    }

    private func inspect(_ paths: String...) throws {
      for path in paths {
        let inspected = try Warmblk.run("inspect", path, "--verify")
        #expect(inspected.succeeded, "\(inspected)")
      }
    }

    @Test(
      "twenty snapshots under load: nothing is lost, the pauses are short, and the image is the same when it is added again"
    )
    func underLoad() throws {
      let image = try WritableImage(.ext4, "--size", "32M")
      let (scratch, disk) = (image.scratch, try Warmblk.add(image.config, "--queues=2"))
      let fio = try load(disk, scratch)
      var pauses: [UInt64] = []
      var layers: [String] = []
      for number in 0..<20 {
        let report = try snapshot(disk, number == 3 ? scratch("elsewhere") : scratch("disk/\(number)"))
        pauses += report.pausesMicroseconds
        layers.append(report.layer)
        #expect(report.layerBytes > 4096)
      }
      let isUnderLoad = fio.isRunning
      #expect(isUnderLoad, "fio ended before the last snapshot")
      print("pauses of 20 snapshots under load: \(pauses.sorted()) us")
      let row = try Warmblk.row(disk)
      #expect(row.layers == layers && row.upper?.data == scratch("disk/19/upper.data"), "\(row)")
      #expect(layers.last == scratch("disk/18/upper.data") && layers.first == scratch("disk/upper.data"))
      let outcome = try fio.wait(seconds: 120)
      #expect(outcome.succeeded, "\(outcome)")
      #expect(try Warmblk.row(disk).errors == 0)
      #expect(!fileExists(scratch("disk/image.json.snapshot")) && !fileExists(scratch("disk/upper.index")))
      // Under emulation, with a loaded host, seconds are not out of the question: what is asserted is the order.
      #expect(pauses.sorted()[pauses.count / 2] < 200_000, "\(pauses)")
      try Warmblk.del(disk)

      // The folder can be moved, but for what is elsewhere.
      try need("mv", scratch("disk"), scratch("moved"))
      #expect(try checkAgain(scratch("moved/image.json"), scratch).count == 20)
      try inspect(scratch("moved/image.json"), scratch("moved/upper.data"))
    }

    @Test("a sparse upper over an image becomes a layer under load, and the image is the same when it is added again")
    func sparse() throws {
      let image = try WritableImage(.ext4, "--parent", try Sample.image(.lz4), "--size", "32M", "--sparse")
      let (scratch, disk) = (image.scratch, try Warmblk.add(image.config, "--queues=2"))
      let fio = try load(disk, scratch)
      for number in 0..<3 {
        usleep(200_000)
        let report = try snapshot(disk, scratch("disk/\(number)"))
        #expect(report.layerBytes > 4096)
      }
      let outcome = try fio.wait(seconds: 120)
      #expect(outcome.succeeded, "\(outcome)")
      try Warmblk.del(disk)
      try checkAgain(image.config, scratch)
      try inspect(image.config, scratch("disk/upper.data"))
    }

    @Test("a server that is killed in the middle of a snapshot leaves a disk with all that was acknowledged")
    func killed() throws {
      var random = SplitMix.announced("killed in a snapshot")
      let image = try WritableImage(.ext4, "--size", "32M")
      let (scratch, disk) = (image.scratch, try Warmblk.add(image.config, "--no-watch"))
      let fio = try load(disk, scratch)
      var completed = 0
      for number in 0..<8 {
        let command = try Warmblk.start([
          "snapshot", "-n", "\(disk.id)", "--new-upper", scratch("disk/\(number)"),
        ])
        usleep(UInt32.random(in: 20_000..<350_000, using: &random))
        let pid = try #require(try Warmblk.row(disk).pid)
        kill(pid, SIGKILL)
        _ = try command.wait(seconds: 30)
        try need(Guest.binary, "recover", "-n", "\(disk.id)", "--timeout", "60")
        #expect(!fileExists(scratch("disk/image.json.snapshot")))
        let row = try Warmblk.row(disk)
        if row.upper?.data == scratch("disk/\(number)/upper.data") { completed += 1 }
        #expect(row.state == "live", "\(row)")
      }
      print("\(completed) of 8 snapshots whose server was killed were made")
      let outcome = try fio.wait(seconds: 120)
      #expect(outcome.succeeded, "\(outcome)")
      try Warmblk.del(disk)
      try checkAgain(image.config, scratch)
    }

    @Test("compacting under load gives space back and changes nothing; a snapshot interrupts it")
    func compaction() throws {
      let image = try WritableImage(.ext4, "--size", "32M")
      let (scratch, disk) = (image.scratch, try Warmblk.add(image.config))
      // Ten times over, so that most of the file is garbage.
      try need(
        "fio", "--name=old", "--filename=\(disk.path)", "--rw=randwrite", "--bs=4k", "--size=4M", "--loops=10",
        "--offset=28M", "--ioengine=io_uring", "--direct=1", "--iodepth=16", "--end_fsync=1", seconds: 60)
      let before = try image.occupied()
      let fio = try load(disk, scratch)
      let outcome = try Warmblk.run("compact", "-n", "\(disk.id)", "--json")
      try #require(outcome.succeeded, "\(outcome)")
      let report: Compaction = try Warmblk.decoded(outcome.output)
      let after = try image.occupied()
      print("compaction: \(report), \(before) bytes before, \(after) after, under load")
      #expect(report.outcome == "complete" && report.freedBytes > 30 << 20, "\(report)")
      #expect(after < before - (20 << 20), "\(before) \(after)")
      // So slow that it does not end by itself.
      try need(
        "fio", "--name=old", "--filename=\(disk.path)", "--rw=randwrite", "--bs=4k", "--size=2M", "--loops=4",
        "--offset=28M", "--ioengine=io_uring", "--direct=1", "--iodepth=16", "--end_fsync=1", seconds: 60)
      let slow = try Warmblk.start(["compact", "-n", "\(disk.id)", "--rate", "64K"])
      usleep(700_000)
      let busy = try Warmblk.run("compact", "-n", "\(disk.id)")
      #expect(busy.status == 1 && busy.errors.contains("under way"), "\(busy)")
      _ = try snapshot(disk, scratch("disk/next"))
      let interrupted = try slow.wait(seconds: 10)
      #expect(interrupted.status == 1 && interrupted.errors.contains("snapshot"), "\(interrupted)")
      let written = try fio.wait(seconds: 120)
      #expect(written.succeeded, "\(written)")
      // And `del` does not wait for one.
      let last = try Warmblk.start(["compact", "-n", "\(disk.id)", "--rate", "4K"])
      usleep(300_000)
      try Warmblk.del(disk)
      _ = try last.wait(seconds: 10)
      let offline = try Warmblk.run("compact", "--config", image.config, "--json")
      #expect(offline.succeeded, "\(offline)")
      try checkAgain(image.config, scratch)
    }

    @Test("a new upper on a file system that the server does not see is used all the same")
    func otherMountTable() throws {
      let image = try WritableImage(.ext4, "--size", "32M")
      let (scratch, disk) = (image.scratch, try Warmblk.add(image.config))
      try makeDirectories(scratch("mnt"))
      try need("mount", "-t", "tmpfs", "none", scratch("mnt"))
      let report = try snapshot(disk, scratch("mnt/upper"))
      #expect(report.upper == scratch("mnt/upper/upper.data"))
      let fio = try load(disk, scratch).wait(seconds: 60)
      #expect(fio.succeeded, "\(fio)")
      _ = try snapshot(disk, scratch("disk/2"))
      try Warmblk.del(disk)
      #expect(try checkAgain(image.config, scratch) == [image.data, scratch("mnt/upper/upper.data")])
      try need("umount", scratch("mnt"))
    }

    @Test("what cannot be is refused, and nothing is changed")
    func refusals() throws {
      let image = try WritableImage(.ext4, "--size", "32M")
      let (scratch, disk) = (image.scratch, try Warmblk.add(image.config))
      let before = Guest.text(image.config)
      let taken = try Warmblk.run("snapshot", "-n", "\(disk.id)", "--new-upper", scratch("disk"))
      #expect(taken.status == 1 && taken.errors.contains("overwrites nothing"), "\(taken)")
      try writeFileAtomically(image.config, Array(before.replacing("upper.data", with: "other.data").utf8))
      let other = try Warmblk.run("snapshot", "-n", "\(disk.id)", "--new-upper", scratch("new"))
      #expect(other.status == 1 && other.errors.contains("put the configuration back"), "\(other)")
      #expect(!fileExists(scratch("new")))
      try writeFileAtomically(image.config, Array(before.utf8))
      let readOnly = try Warmblk.add(try Sample.image(.lz4))
      for words in [["snapshot", "--new-upper", scratch("new")], ["compact"]] {
        let outcome = try Warmblk.start(words + ["-n", "\(readOnly.id)"]).wait(seconds: 30)
        #expect(outcome.status == 1 && outcome.errors.contains("cannot be written"), "\(outcome)")
      }
      try Warmblk.del(readOnly)
      #expect(!fileExists(scratch("new")) && !fileExists("\(image.config).snapshot"))
      try Warmblk.del(disk)
      #expect(Guest.text(image.config) == before)
    }
  }
}
