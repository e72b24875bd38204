import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  /// overlaybd's way to record: an empty file in the configuration, a lock that is removed, a file that says done.
  struct RecordTracePathTests {
    private func config(_ scratch: Scratch, _ codec: Sample.Codec = .lz4) throws -> String {
      try scratch.config([try Sample.layerFile(codec)], more: #", "recordTracePath": "T""#)
    }

    @Test("an empty file is recorded into until its lock is removed, and is whole when there is a file with .ok")
    func protocolOfFiles() throws {
      let scratch = try Scratch()
      try scratch.write("T", [])
      try scratch.write("T.ok", "from before")
      chmod(scratch("T"), 0o640)
      chown(scratch("T"), 55, 66)
      let disk = try Warmblk.add(try config(scratch))
      #expect(fileExists(scratch("T.lock")) && !fileExists(scratch("T.ok")))
      for skip in [100, 1000, 100] {
        try need(
          "dd", "if=\(disk.path)", "of=/dev/null", "bs=64k", "skip=\(skip / 16)", "count=2", "iflag=direct",
          "status=none")
      }
      #expect(try Warmblk.row(disk).recording != nil)
      usleep(500_000)
      #expect(!fileExists(scratch("T.ok")))
      #expect(try readFile(scratch("T")).isEmpty)
      unlink(scratch("T.lock"))
      #expect(Deadline(milliseconds: 5000).wait(interval: 5) { fileExists(scratch("T.ok")) })
      let trace = try TraceFile.overlaybd(scratch("T"))
      var status = stat()
      #expect(
        stat(scratch("T"), &status) == 0 && status.st_mode & 0o777 == 0o640 && status.st_uid == 55
          && status.st_gid == 66)
      #expect(stat(scratch("T.ok"), &status) == 0 && status.st_mode & 0o777 == 0o666)
      #expect(try listDirectory(scratch.path).sorted() == ["T", "T.ok", "image.json"])
      // A layer's data lie in its blob in the order of the disk: these two places of 128 KiB are two runs there.
      let ranges = TraceFile.joined(trace.records.map { $0.offset..<$0.offset + $0.count })
      #expect(trace.records.allSatisfy { $0.operation == .read && $0.layer == 0 && $0.count <= 1 << 20 })
      #expect(ranges.filter { $0.count >= 131072 }.count == 2)
      #expect(ranges.reduce(0) { $0 + $1.count } <= 2 * 131072 + 16 * 4096)
      try Warmblk.del(disk)
    }

    @Test("a device that goes away ends it as the lock does")
    func removal() throws {
      let scratch = try Scratch()
      try scratch.write("T", [])
      let disk = try Warmblk.add(try config(scratch, .none))
      try need("dd", "if=\(disk.path)", "of=/dev/null", "bs=4k", "count=9", "iflag=direct", "status=none")
      try Warmblk.del(disk)
      #expect(try listDirectory(scratch.path).sorted() == ["T", "T.ok", "image.json"])
      #expect(try !TraceFile.overlaybd(scratch("T")).records.isEmpty)
    }

    @Test("a file that is not there or not empty is a warning; beside a trace to replay or --record it is an error")
    func otherFiles() throws {
      let scratch = try Scratch()
      let absent = try Warmblk.run("add", "--config", try config(scratch))
      #expect(absent.succeeded && absent.errors.contains("\(scratch("T")): No such file"), "\(absent)")
      try Warmblk.del(Disk(id: 0))
      try scratch.write("T", [])
      for more in [["--record", scratch("U")], []] {
        let image =
          more.isEmpty
          ? try scratch.config(
            [try Sample.layerFile(.lz4)], "both.json", more: #", "recordTracePath": "T", "accelerationLayer": true"#)
          : try config(scratch)
        let outcome = try Warmblk.start(["add", "--config", image] + more).wait(seconds: 30)
        #expect(outcome.status == 1 && outcome.errors.contains("recordTracePath"), "\(outcome)")
      }
      #expect(try listDirectory(scratch.path).sorted() == ["T", "both.json", "image.json"])
    }
  }
}
