import Glibc
import Posix
import Testing
import Trace

extension OnDevice {
  /// `warmblk trace`, `add --record`.
  struct RecordingTests {
    /// Reads 4 KiB blocks of a disk past the page cache.
    private func read(_ disk: Disk, blocks: Range<Int>) throws {
      try need(
        "dd", "if=\(disk.path)", "of=/dev/null", "bs=4k", "skip=\(blocks.lowerBound)", "count=\(blocks.count)",
        "iflag=direct", "status=none")
    }

    private func bytes(_ blocks: Range<Int>) -> Range<UInt64> {
      UInt64(blocks.lowerBound) * 4096..<UInt64(blocks.upperBound) * 4096
    }

    @Test(
      "has what was read between start and stop, in order and once, and says where it is stored",
      arguments: Sample.Codec.allCases)
    func exact(_ codec: Sample.Codec) throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(try Sample.image(codec), "--queues", "1")
      try read(disk, blocks: 5..<9)
      try Warmblk.startRecording(disk, scratch("t"))
      #expect(!fileExists(scratch("t")))
      let orders = [700..<710, 100..<103, 705..<720, 101..<102, 0..<1, 2047..<2048, 9..<10]
      for blocks in orders { try read(disk, blocks: blocks) }
      // The last block of the disk is three sectors.
      try disk.reading(direct: true) { _ = try $0.read(1536, at: UInt64(2048) * 4096) }
      let isThere = Deadline(milliseconds: 5000).wait(interval: 50) {
        (try? Warmblk.row(disk).recording?.bytes) == 26 * 4096 + 1536
      }
      #expect(isThere)
      let report = try Warmblk.stopRecording(disk)
      #expect(try Warmblk.row(disk).recording == nil)
      try read(disk, blocks: 50..<60)
      let file = try TraceFile(scratch("t"))
      let expected = [700..<710, 100..<103, 710..<720, 0..<1, 2047..<2048, 9..<10].map(bytes)
      #expect(file.device == TraceFile.joined(expected + [2048 * 4096..<2048 * 4096 + 1536]))
      #expect(
        file.bytes == 26 * 4096 + 1536 && report.bytes == file.bytes && report.lost == 0 && report.reason == "stopped")
      #expect(report.accesses == file.trace.accesses.count && report.path == scratch("t"))
      #expect(try readFile(scratch("t")).count == report.fileBytes)
      // First touch: where a range begins, the one before it has been.
      let starts = expected.map { range in file.trace.accesses.firstIndex { range.contains($0.device.lowerBound) } }
      #expect(starts == starts.sorted { ($0 ?? -1) < ($1 ?? -1) } && !starts.contains(nil))
      try checkStored(file.trace, codec)
      try Warmblk.del(disk)
    }

    /// The trace's layer is the image's, and, where it is not compressed, the bytes named of its file are the disk's.
    private func checkStored(_ trace: AccessTrace, _ codec: Sample.Codec) throws {
      let layer = try readFile(try Sample.layerFile(codec))
      try #require(trace.layers.count == 1 && trace.layers[0].size == UInt64(layer.count))
      let digest = try need("sha256sum", try Sample.layerFile(codec)).prefix(64)
      #expect(trace.layers[0].identity == "sha256:\(digest)" && trace.deviceSize == UInt64(Sample.sectors * 512))
      let content = try Sample.content()
      for access in trace.accesses {
        #expect(access.layer == 0 && access.stored.upperBound <= UInt64(layer.count))
        if codec == .none {
          let stored = layer[Int(access.stored.lowerBound)..<Int(access.stored.upperBound)]
          let disk = UnsafeRawBufferPointer(
            start: content.base + Int(access.device.lowerBound), count: access.device.count)
          #expect(stored.elementsEqual(disk))
        }
      }
    }

    @Test(
      "a file system made of nothing but what a trace names reads like the whole, and untouched files are not in it")
    func walk() throws {
      let scratch = try Scratch()
      let script = """
        set -eu; cd \(scratch.path); mkdir -p source/used/deep source/unused mnt mnt2
        for i in $(seq 80); do seq $((i * 211)) >source/used/deep/f$i; seq $((i * 97)) >source/unused/f$i; done
        head -c 3000000 /dev/urandom >source/unused/big; head -c 1500000 /dev/urandom >source/used/big
        mke2fs -q -t ext4 -b 4096 -O ^has_journal -d source raw 24M
        """
      try need("bash", "-c", script)
      let image = try Warmblk.importing(scratch("raw"), to: scratch("image"), ["--compress", "lz4"])
      let disk = try Warmblk.add(image, "--record", scratch("t"))
      try need("mount", "-o", "ro,noload", disk.path, scratch("mnt"))
      let walked = try need("sh", "-c", "cd \(scratch("mnt"))/used && find . -type f | sort | xargs sha256sum")
      try need("umount", scratch("mnt"))
      let sectors = disk.attribute("stat").split(separator: " ").dropFirst(2).first.flatMap { UInt64($0) }
      try Warmblk.del(disk)
      let file = try TraceFile(scratch("t"))
      #expect(file.bytes <= (sectors ?? 0) * 512, "more is in the trace than the kernel has read")
      try copy(file.device, of: scratch("raw"), to: scratch("part"))
      try need("mount", "-o", "loop,ro,noload", scratch("part"), scratch("mnt2"))
      let again = try need("sh", "-c", "cd \(scratch("mnt2"))/used && find . -type f | sort | xargs sha256sum")
      try need("umount", scratch("mnt2"))
      #expect(again == walked)
      // debugfs knows where a file's blocks are without any of this.
      let list = try need("debugfs", "-R", "blocks /unused/big", scratch("raw"))
      let blocks = list.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
      try #require(blocks.count > 700)
      let covered = blocks.filter { file.covers(bytes($0..<$0 + 1)) }
      // A few lie between metadata, which the kernel reads ahead.
      #expect(covered.count < 40, "what nobody read is in the trace: \(covered) of \(file.device)")
    }

    /// A sparse file with these ranges of another one.
    private func copy(_ ranges: [Range<UInt64>], of path: String, to target: String) throws {
      let from = try Descriptor.open(path)
      let to = try Descriptor.open(target, O_RDWR | O_CREAT)
      try to.truncate(to: UInt64(try from.status().st_size))
      for range in ranges {
        var bytes = [UInt8](repeating: 0, count: range.count)
        try bytes.withUnsafeMutableBytes { buffer in
          let count = try from.readFully(into: buffer, at: range.lowerBound)
          #expect(count == buffer.count)
          try to.writeFully(UnsafeRawBufferPointer(buffer), at: range.lowerBound)
        }
      }
    }

    @Test("ends by itself after a time, when nothing new is read, and when its file is full")
    func limits() throws {
      let scratch = try Scratch()
      var disk = try Warmblk.add(try Sample.image(.lz4))
      func end(_ words: String, seconds: ClosedRange<Double>, _ reason: String, while body: () throws -> Void) throws
        -> Warmblk.Report
      {
        let began = monotonicNanoseconds()
        let program =
          ["trace", "start", "-n", "\(disk.id)", "-o", scratch(reason)] + words.split(separator: " ").map(String.init)
        let outcome = try Warmblk.start(program).wait(seconds: 10)
        try #require(outcome.succeeded, "\(outcome)")
        try body()
        #expect(Deadline(milliseconds: 20_000).wait(interval: 10) { fileExists(scratch(reason)) }, "\(reason)")
        let took = Double(monotonicNanoseconds() - began) / 1e9
        #expect(seconds.contains(took), "\(reason) after \(took) s")
        let report = try Warmblk.stopRecording(disk)
        #expect(report.reason == reason, "\(report)")
        return report
      }
      _ = try end("--for 900ms", seconds: 0.85...6, "time") { try read(disk, blocks: 3..<4) }
      // What was read already is not new.
      let idle = try end("--until-idle 700ms", seconds: 2.1...9, "idle") {
        usleep(1_000_000)
        try read(disk, blocks: 20..<30)
        for _ in 0..<4 {
          usleep(300_000)
          try read(disk, blocks: 22..<25)
        }
      }
      #expect(idle.bytes == 40960)
      try Warmblk.del(disk)
      try need("dd", "if=/dev/urandom", "of=\(scratch("raw"))", "bs=1M", "count=32", "status=none")
      disk = try Warmblk.add(try Warmblk.importing(scratch("raw"), to: scratch("image"), ["--compress", "none"]))
      // In no order, so that accesses cost the same however fast the disk is read.
      let full = try end("--max-bytes 64K", seconds: 0...60, "full") {
        try need(
          "fio", "--name=read", "--filename=\(disk.path)", "--rw=randread", "--bs=4k", "--direct=1", "--size=32M",
          "--readonly", "--randseed=1")
      }
      #expect(full.fileBytes <= 65536 && full.fileBytes > 30_000 && full.bytes < 32 << 20, "\(full)")
      try Warmblk.del(disk)
    }

    @Test(
      "two recordings of one device, a device that is not there, and a folder that cannot be written are refused clearly"
    )
    func refusals() throws {
      let scratch = try Scratch()
      func failure(_ words: String...) throws -> String {
        let outcome = try Warmblk.start(["trace"] + words).wait(seconds: 20)
        #expect(outcome.status == 1 && !outcome.wasLate, "\(outcome)")
        return outcome.errors
      }
      #expect(try failure("start", "-n", "9", "-o", scratch("t")).contains("there is no device 9"))
      #expect(try failure("stop", "-n", "9").contains("there is no device 9"))
      let disk = try Warmblk.add(try Sample.image(.none))
      let id = "\(disk.id)"
      #expect(try failure("stop", "-n", id).contains("nothing of \(disk.path) is being recorded"))
      #expect(
        try failure("start", "-n", id, "-o", scratch("no/t")).contains("\(scratch("no")), the folder of the trace"))
      #expect(try failure("start", "-n", id, "-o", scratch.path).contains("is there already"))
      #expect(try failure("start", "-n", id, "-o", scratch.path, "--force").contains("is there and no file"))
      #expect(try failure("start", "-n", id, "-o", "/proc/t").contains("/proc"))
      try Warmblk.startRecording(disk, scratch("t"))
      let second = try failure("start", "-n", id, "-o", scratch("u"))
      #expect(
        second.contains("is being recorded already, to \(scratch("t"))") && second.contains("trace stop -n \(id)"))
      let server = try #require(try Warmblk.row(disk).pid)
      kill(server, SIGSTOP)
      #expect(try failure("stop", "-n", id).contains("kill -CONT \(server)"))
      kill(server, SIGCONT)
      #expect(try Warmblk.stopRecording(disk).accesses == 0)
      try Warmblk.del(disk)
      #expect(try listDirectory(scratch.path) == ["t"])
    }

    @Test("a server that is killed leaves no trace and no half of one; a device that is taken away writes it")
    func killed() throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(try Sample.image(.zstd), "--record", scratch("t"), "--no-watch")
      try read(disk, blocks: 0..<500)
      kill(try #require(try Warmblk.row(disk).pid), SIGKILL)
      #expect(Deadline(milliseconds: 40_000).wait { (try? Warmblk.row(disk).state) == "dead" })
      let outcome = try Warmblk.run("trace", "stop", "-n", "\(disk.id)")
      #expect(outcome.status == 1 && outcome.errors.contains("is gone"), "\(outcome)")
      #expect(try Warmblk.row(disk).recording == nil)
      try Warmblk.del(disk)
      #expect(try listDirectory(scratch.path).isEmpty)
      let again = try Warmblk.add(try Sample.image(.zstd), "--record", scratch("t"))
      try read(again, blocks: 40..<50)
      try Warmblk.del(again)
      #expect(try TraceFile(scratch("t")).covers(bytes(40..<50)))
    }
  }
}
