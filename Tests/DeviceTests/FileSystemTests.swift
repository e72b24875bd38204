import Glibc
import Posix
import Testing

extension OnDevice {
  struct FileSystemTests {
    @Test("an ext4 file system in three layers mounts, and every file is as it was")
    func ext4() throws {
      let scratch = try Scratch()
      let (raw, source, mountPoint) = (scratch("raw"), scratch("source"), scratch("mnt"))
      let script = """
        set -eu
        mkdir -p \(source)/a/b \(source)/gone \(mountPoint)
        cp -a /etc/debian_version /etc/fstab /etc/group \(source)/gone
        cp -aL /usr/bin/sha256sum /usr/bin/dd /usr/bin/find \(source)/a
        for i in $(seq 60); do seq $((i * 37)) >\(source)/a/b/file$i; done
        truncate -s 3M \(source)/sparse
        ln -s a/b/file1 \(source)/link
        mke2fs -q -t ext4 -L warm -d \(source) \(raw) 12M
        """
      try need("bash", "-c", script)
      let base = try Warmblk.importing(raw, to: scratch("v1"), ["--compress", "none"])
      // Later layers change and delete what earlier ones hold.
      try change(raw, "rm -r gone a/dd; echo new >a/b/file7; cp -aL /usr/bin/sort a/", source, mountPoint)
      let middle = try Warmblk.importing(raw, to: scratch("v2"), ["--compress", "lz4", "--parent", base])
      try change(raw, "mkdir c; mv a/b/file9 c/; seq 5000 >>a/b/file8; chmod 700 a/sort", source, mountPoint)
      let top = try Warmblk.importing(raw, to: scratch("v3"), ["--compress", "zstd", "--parent", middle])

      let disk = try Warmblk.add(top)
      #expect(try Warmblk.row(disk).layers?.count == 3)
      #expect(try need("blkid", "-p", "-o", "value", "-s", "LABEL", disk.path) == "warm")
      try need("mount", "-o", "ro", disk.path, mountPoint)
      let differences = try run("diff", "-r", "--no-dereference", "--exclude=lost+found", source, mountPoint)
      #expect(differences.succeeded, "\(differences)")
      let format = ["-mindepth", "1", "-not", "-name", "lost+found", "-printf", "%P %y %m %U %G %l\\n"]
      let listings = try [source, mountPoint].map {
        try Program(["find", $0] + format).wait(seconds: 30).output
      }
      #expect(listings[0].split(separator: "\n").sorted() == listings[1].split(separator: "\n").sorted())
      #expect(listings[0].split(separator: "\n").count > 60)

      let refused = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(refused.status == 1 && refused.errors.contains(mountPoint), "\(refused)")
      #expect(try run("cmp", "\(source)/a/b/file8", "\(mountPoint)/a/b/file8").succeeded)
      try need("umount", mountPoint)
      try Warmblk.del(disk)
    }

    /// Changes the file system in `raw` and the folder that it is compared with in the same way.
    private func change(_ raw: String, _ commands: String, _ source: String, _ mountPoint: String) throws {
      let script = """
        set -eu
        mount -o loop \(raw) \(mountPoint)
        for folder in \(source) \(mountPoint); do (cd $folder; \(commands)); done
        umount \(mountPoint)
        """
      try need("bash", "-c", script)
    }

    @Test("with --force a mounted disk goes away under its file system")
    func forcedWhileMounted() throws {
      let image = try MountedImage()
      let disk = try Warmblk.add(image.config)
      try image.mount(disk)
      let outcome = try Warmblk.run("del", "-n", "\(disk.id)", "--force", seconds: 45)
      #expect(outcome.succeeded && outcome.errors.contains(image.mountPoint), "\(outcome)")
      #expect(!fileExists(disk.path))
      let read = try run("cat", image.file, seconds: 20)
      #expect(read.status == 1 && !read.wasLate, "a file that was never read is read: \(read.status)")
      try image.unmount()
    }

    @Test("partitions appear, mount and show what they are")
    func partitions() throws {
      let scratch = try Scratch()
      let (raw, source, mountPoint) = (scratch("raw"), scratch("source"), scratch("mnt"))
      let script = """
        set -eu
        mkdir -p \(source) \(mountPoint)
        seq 30000 >\(source)/numbers
        truncate -s 12M \(raw)
        printf 'label: gpt\\nsize=2M\\nsize=8M, name=second\\n' | sfdisk -q \(raw)
        mke2fs -q -t ext4 -L second -d \(source) \(scratch("part")) 8M
        dd if=\(scratch("part")) of=\(raw) bs=1M seek=$(($(sfdisk -J \(raw) | jq '.partitiontable.partitions[1].start') / 2048)) conv=notrunc status=none
        """
      try need("bash", "-c", script)
      let disk = try Warmblk.add(try Warmblk.importing(raw, to: scratch("image"), ["--compress", "lz4"]))
      let second = "\(disk.path)p2"
      #expect(fileExists("\(disk.path)p1"))
      #expect(try need("blkid", "-p", "-o", "value", "-s", "PTTYPE", disk.path) == "gpt")
      #expect(try need("blkid", "-p", "-o", "value", "-s", "LABEL", second) == "second")
      #expect(try need("blockdev", "--getsize64", "--getro", second) == "\(8 << 20)\n1")
      try need("mount", "-o", "ro", second, mountPoint)
      #expect(try run("cmp", "\(source)/numbers", "\(mountPoint)/numbers").succeeded)
      let refused = try Warmblk.run("del", "-n", "\(disk.id)")
      #expect(refused.status == 1 && refused.errors.contains(mountPoint), "\(refused)")
      try need("umount", mountPoint)
      try Warmblk.del(disk)
      #expect(!fileExists(second))
    }

    @Test("a disk says that it is read-only, and refuses to be written, discarded and zeroed")
    func readOnly() throws {
      let disk = try Warmblk.add(try Sample.image(.none), "--read-only")
      #expect(
        try need("blockdev", "--getro", "--getss", "--getsize64", disk.path)
          == "1\n512\n\(Sample.sectors * 512)")
      try need("blockdev", "--setra", "1024", disk.path)
      #expect(try need("blockdev", "--getra", disk.path) == "1024")
      #expect(disk.attribute("queue/discard_max_bytes") == "0")
      #expect(disk.attribute("queue/write_zeroes_max_bytes") == "0")
      for command in [
        ["dd", "if=/dev/zero", "of=\(disk.path)", "bs=4096", "count=1", "oflag=direct"],
        ["blkdiscard", "-f", disk.path], ["blkdiscard", "-f", "-z", disk.path],
        ["wipefs", "-qaf", disk.path],
        ["mke2fs", "-q", "-F", disk.path],
      ] {
        let outcome = try Program(command).wait(seconds: 30)
        // There is no signature to wipe: doing nothing is right.
        if command[0] != "wipefs" { #expect(outcome.status != 0 && !outcome.wasLate, "\(outcome)") }
      }
      let content = try Sample.content()
      try disk.reading(direct: true) { try $0.compare(with: content, "after all that") }
      #expect(try Warmblk.row(disk).errors == 0)
      try Warmblk.del(disk)
    }
  }
}
