import Glibc
import Posix
import Testing

extension OnDevice {
  /// What programs do with the disk.
  @Suite struct MountTests {
    /// An ext4 image of three layers, raw, LZ4 and zstd, and the folder that it must look like.
    static func image(_ scratch: Scratch) throws -> (config: String, tree: String) {
      let tree = scratch("tree")
      var parent: [String] = []
      var config = ""
      for (number, codec) in ["none", "lz4", "zstd"].enumerated() {
        try makeDirectories("\(tree)/d\(number)")
        var random = SplitMix(state: UInt64(number))
        for file in 0..<12 {
          let content = file.isMultiple(of: 2) ? random.bytes(3000 * file) : Array("text \(number)\n".utf8)
          try writeFileAtomically("\(tree)/d\(number)/f\(file)", content)
        }
        // Later layers change and delete what earlier ones have.
        if number > 0 {
          try writeFileAtomically("\(tree)/d0/f2", random.bytes(9000))
          unlink("\(tree)/d0/f\(number + 4)")
        }
        let raw = scratch("state\(number)")
        try Descriptor.open(raw, O_RDWR | O_CREAT).truncate(to: 24 << 20)
        try need("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", tree, raw)
        let folder = scratch("layer\(number)")
        let outcome = try Warmblk.start(["import", raw, "-o", folder, "--compress", codec] + parent).wait(seconds: 60)
        try #require(outcome.succeeded, "\(outcome)")
        config = "\(folder)/image.json"
        parent = ["--parent", config]
      }
      return (config, tree)
    }

    @Test("an ext4 image of three layers mounts, and every file is its source")
    func ext4() throws {
      let scratch = try Scratch()
      let (config, tree) = try Self.image(scratch)
      let disk = try Warmblk.add(config)
      #expect(try need("blkid", "-o", "value", "-s", "TYPE", disk.path) == "ext4")
      try makeDirectories(scratch("mnt"))
      try need("mount", "-o", "ro", disk.path, scratch("mnt"))
      try need("diff", "-r", "--exclude=lost+found", tree, scratch("mnt"))
      try need("umount", scratch("mnt"))
      try Warmblk.del(disk)
    }

    @Test("partitions appear and read as their part of the disk")
    func partitions() throws {
      let scratch = try Scratch()
      let raw = try LifeTests.raw(scratch)
      try need("sh", "-c", "echo 'start=2048,size=4096' | sfdisk -q \(raw)")
      let disk = try Warmblk.add(try Warmblk.importing(raw, to: scratch("image")))
      let partition = "\(disk.path)p1"
      #expect(Deadline(milliseconds: 5000).wait { fileExists(partition) })
      let expected = try need("sh", "-c", "dd if=\(raw) bs=512 skip=2048 count=4096 status=none | sha256sum")
      #expect(try need("sh", "-c", "sha256sum <\(partition)") == expected)
      try Warmblk.del(disk)
    }

    @Test("the disk is read-only to every way of changing it, and answers questions about itself")
    func readOnly() throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(try Warmblk.importing(try LifeTests.raw(scratch), to: scratch("image")))
      #expect(try need("blockdev", "--getro", disk.path) == "1")
      #expect(try need("blockdev", "--getsize64", disk.path) == "\(16 << 20)")
      try need("blockdev", "--setra", "64", disk.path)
      #expect(try need("blockdev", "--getra", disk.path) == "64")
      for command in ["dd if=/dev/zero of=\(disk.path) bs=4k count=1", "blkdiscard -f \(disk.path)", "blkdiscard -fz \(disk.path)"] {
        #expect(!(try run("sh", "-c", command)).succeeded, "\(command)")
      }
      try disk.reading(direct: true) { try $0.compare(with: RawContent(scratch("raw.1")), "after attempts to write") }
      #expect(try Warmblk.row(disk).errors == 0, "the kernel sent something that a read-only disk does not get")
      try Warmblk.del(disk)
    }

    @Test("fio finds its checksums in every block size, also from several jobs", arguments: ["none", "lz4", "zstd"])
    func fio(_ codec: String) throws {
      let scratch = try Scratch()
      let raw = scratch("fio.raw")
      let common = ["--name=v", "--size=8M", "--verify=crc32c", "--bssplit=512/20:4k/40:64k/20:512k/20", "--randseed=3"]
      let written = try Program(
        ["fio", "--filename=\(raw)", "--rw=randwrite", "--ioengine=psync", "--do_verify=0", "--norandommap=0"] + common
      ).wait(seconds: 60)
      try #require(written.succeeded, "\(written)")
      let disk = try Warmblk.add(try Warmblk.importing(raw, to: scratch("image"), "--compress", codec))
      let verified = try Program(
        [
          "fio", "--filename=\(disk.path)", "--rw=randwrite", "--verify_only", "--readonly", "--direct=1",
          "--ioengine=io_uring", "--iodepth=16", "--verify_fatal=1",
        ] + common
      ).wait(seconds: 90)
      #expect(verified.succeeded, "\(verified)")
      for depth in [1, 64] {
        let jobs = try Program([
          "fio", "--name=j", "--numjobs=3", "--filename=\(disk.path)", "--readonly", "--direct=1", "--rw=randread",
          "--ioengine=io_uring", "--iodepth=\(depth)", "--bssplit=512/30:4k/50:512k/20", "--size=8M", "--io_size=4M",
        ]).wait(seconds: 90)
        #expect(jobs.succeeded, "\(jobs)")
      }
      try disk.reading(direct: true) { try $0.compare(with: RawContent(raw), "after fio") }
      #expect(try Warmblk.row(disk).errors == 0)
      try Warmblk.del(disk)
    }
  }
}
