import Glibc
import Posix
import Testing

extension OnDevice {
  /// Disks that become larger while they are written.
  struct GrowthTests {
    /// Sizes that the disk has one after the other, bytes; one of them is no multiple of a page.
    private static let sizes: [UInt64] = [32 << 20, 36 << 20, 40 << 20 + 512, 64 << 20, 160 << 20, 1 << 30]
    /// What is written where a disk ended before, and at its end.
    private static let pieceBytes: UInt64 = 8192

    /// fio writes the first 24 MiB at random, from two threads, for some seconds, and checks in the end what it wrote, which
    /// `checks` does again.
    private func load(_ disk: Disk, _ scratch: Scratch, checks: Bool = false) throws -> Program {
      try Program(
        [
          "fio", "--name=grow", "--filename=\(disk.path)", "--rw=randwrite", "--bsrange=4k-16k", "--size=12M",
          "--offset_increment=12M", "--numjobs=2", "--thread", "--ioengine=io_uring", "--direct=1", "--iodepth=8",
          "--randseed=7", "--verify=crc32c", "--verify_fatal=1", "--fsync=50", "--aux-path=\(scratch.path)",
        ] + (checks ? ["--verify_only"] : ["--rate_iops=,150", "--do_verify=1"]))
    }

    /// Bytes that are not zero between two places.
    private func bytesThere(_ disk: Disk, _ range: Range<UInt64>) throws -> Int {
      let text = try need(
        "sh", "-c", "dd if=$0 bs=64k iflag=skip_bytes,count_bytes skip=$1 count=$2 status=none | tr -d '\\000' | wc -c",
        disk.path, "\(range.lowerBound)", "\(range.count)")
      return try #require(Int(text))
    }

    /// Expects in `disk` at `offset` what the file `piece` has.
    private func expect(_ piece: String, in disk: Disk, at offset: UInt64) throws {
      let outcome = try run(
        "sh", "-c", "dd if=$0 bs=512 iflag=skip_bytes,count_bytes,direct skip=$1 count=$2 status=none | cmp - $3",
        disk.path, "\(offset)", "\(Self.pieceBytes)", piece)
      #expect(outcome.succeeded, "at \(offset): \(outcome)")
    }

    @Test(
      "a disk grows again and again under load: nothing is lost, what is added is zeroes and can be written",
      .disabled(if: Guest.kernel == "6.12", "this kernel's driver cannot; WritableToolTests has what is said then"),
      arguments: [true, false])
    func underLoad(_ isSparse: Bool) throws {
      let sizes = Self.sizes
      let scratch = try Scratch(.ext4)
      let config: String
      if isSparse {
        config = try WritableImage.create(scratch("disk"), ["--sparse", "--size", "32M"])
      } else {
        // A layer below has something beyond the disk's end, which must not come to light.
        try need("dd", "if=/dev/urandom", "of=\(scratch("raw"))", "bs=1M", "count=9", "seek=33", "status=none")
        let parent = try Warmblk.importing(scratch("raw"), to: scratch("parent"), ["--compress", "lz4"])
        config = try WritableImage.create(scratch("disk"), ["--parent", parent])
        try need(Guest.binary, "resize", "--config", config, "32M", "--force")
      }
      var disk = try Warmblk.add(config, "--queues=2")
      let fio = try load(disk, scratch)
      var pieces: [(path: String, offset: UInt64)] = []
      func write(_ offset: UInt64) throws {
        let path = scratch("piece\(pieces.count)")
        try need("dd", "if=/dev/urandom", "of=\(path)", "bs=\(Self.pieceBytes)", "count=1", "status=none")
        try need(
          "dd", "if=\(path)", "of=\(disk.path)", "bs=512", "oflag=seek_bytes,direct", "seek=\(offset)", "conv=notrunc",
          "status=none")
        pieces.append((path, offset))
      }
      for (before, after) in zip(sizes, sizes.dropFirst()) {
        usleep(200_000)
        let resizing = try Warmblk.run("resize", "-n", "\(disk.id)", "\(after)")
        #expect(resizing.succeeded, "\(resizing)")
        #expect(try Warmblk.row(disk).size == after && disk.attribute("size") == "\(after / 512)")
        #expect(try bytesThere(disk, before..<min(after, before + 24 << 20)) == 0, "beyond \(before)")
        // Across what was the end, and at what is the end now for as long as it is.
        try write(before - Self.pieceBytes / 2)
        if after == sizes.last { try write(after - Self.pieceBytes) }
      }
      let isUnderLoad = fio.isRunning
      #expect(isUnderLoad, "fio ended before the disk had grown")
      let outcome = try fio.wait(seconds: 120)
      #expect(outcome.succeeded, "\(outcome)")
      let added = VerifiedWrites(megabytes: 24, words: ["--offset=72M"])
      let writing = try added.write(disk)
      #expect(writing.succeeded, "\(writing)")
      for piece in pieces { try expect(piece.path, in: disk, at: piece.offset) }
      #expect(try Warmblk.row(disk).errors == 0)
      try Warmblk.del(disk)

      disk = try Warmblk.add(config)
      #expect(try Warmblk.row(disk).size == sizes.last && disk.attribute("size") == "\(sizes.last! / 512)")
      let check = try load(disk, scratch, checks: true).wait(seconds: 60)
      #expect(check.succeeded, "\(check)")
      let addedCheck = try added.check(disk)
      #expect(addedCheck.succeeded, "\(addedCheck)")
      for piece in pieces { try expect(piece.path, in: disk, at: piece.offset) }
      for range in [36 << 20 + 4096..<40 << 20 - 4096, 96 << 20..<160 << 20 - 4096] as [Range<UInt64>] {
        #expect(try bytesThere(disk, range) == 0, "\(range)")
      }
      try Warmblk.del(disk)
      let inspected = try Warmblk.run("inspect", config, "--verify")
      #expect(inspected.succeeded, "\(inspected)")
    }
  }
}
