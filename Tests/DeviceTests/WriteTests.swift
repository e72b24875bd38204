import Glibc
import Posix
import Testing

extension OnDevice {
  struct WriteTests {
    @Test("an ext4 is made, written, checked and found again", arguments: [Scratch.Place.ext4, .tmpfs])
    func ext4(_ place: Scratch.Place) throws {
      let image = try WritableImage(place, "--size", "96M")
      var disk = try Warmblk.add(image.config)
      #expect(disk.attribute("ro") == "0" && disk.attribute("queue/write_cache") == "write back")
      #expect(disk.attribute("queue/fua") == "1" && disk.attribute("queue/discard_granularity") == "4096")
      try need("mkfs.ext4", "-q", disk.path)
      let files = "mkdir $0/d; cp -aL /usr/bin/bash /usr/bin/find /etc/services $0/d; seq 200000 >$0/numbers"
      try image.mounted(disk, files)
      try need("e2fsck", "-fn", disk.path)
      let row = try Warmblk.row(disk)
      #expect(row.upper?.data == image.data && row.upper?.index == image.index, "\(row)")
      #expect(row.errors == 0 && (row.writtenBytes ?? 0) > 2 << 20 && (row.flushes ?? 0) > 0, "\(row)")
      let isSaid = Deadline(milliseconds: 3000).wait(interval: 50) {
        ((try? Warmblk.row(disk).written?.dataBytes) ?? 0) > 2 << 20
      }
      let later = try Warmblk.row(disk)
      #expect(isSaid, "\(later)")
      try Warmblk.del(disk)
      disk = try Warmblk.add(image.config)
      try need("e2fsck", "-fn", disk.path)
      let check = "cmp /usr/bin/bash $0/d/bash; cmp /etc/services $0/d/services; seq 200000 | cmp - $0/numbers"
      try image.mounted(disk, options: "ro", check)
      try Warmblk.del(disk)
    }

    @Test("an xfs is made, written and found again")
    func xfs() throws {
      let image = try WritableImage(.tmpfs, "--size", "320M")
      let disk = try Warmblk.add(image.config)
      try need("mkfs.xfs", "-q", disk.path)
      try image.mounted(disk, "cp -aL /usr/bin/bash $0; seq 100000 >$0/numbers; sync; rm $0/bash")
      try need("xfs_repair", "-n", disk.path)
      try image.mounted(disk, "seq 100000 | cmp - $0/numbers")
      try Warmblk.del(disk)
    }

    @Test("writes over an image show it where nothing was written, and leave it as it is")
    func overAnImage() throws {
      let below = try MountedImage()
      let layer = try need("bash", "-c", "sha256sum $(dirname \(below.config))/overlaybd.commit")
      let image = try WritableImage(.ext4, "--parent", below.config)
      var disk = try Warmblk.add(image.config)
      #expect(try Warmblk.row(disk).layers?.count == 1)
      try image.mounted(
        disk, "seq 400000 | cmp - $0/numbers; seq 7 | dd of=$0/numbers bs=1 seek=1000000 conv=notrunc status=none")
      try image.mounted(disk, "echo more >$0/more")
      try Warmblk.del(disk)
      disk = try Warmblk.add(image.config)
      try need("e2fsck", "-fn", disk.path)
      let check = """
        seq 400000 | head -c 1000000 | cmp - <(head -c 1000000 $0/numbers)
        seq 7 | cmp - <(tail -c +1000001 $0/numbers | head -c 14)
        seq 400000 | tail -c +1000015 | cmp - <(tail -c +1000015 $0/numbers); test $(cat $0/more) = more
        """
      try image.mounted(disk, options: "ro", check)
      try Warmblk.del(disk)
      #expect(try need("bash", "-c", "sha256sum $(dirname \(below.config))/overlaybd.commit") == layer)
    }

    @Test("what is written in requests of 512 bytes to 96 KiB reads back, also later", arguments: [1, 2])
    func verified(_ queues: Int) throws {
      let image = try WritableImage(.ext4, "--parent", try Sample.image(.lz4), "--size", "32M")
      let writes = VerifiedWrites()
      var disk = try Warmblk.add(image.config, "--queues", "\(queues)")
      var outcome = try writes.write(disk)
      #expect(outcome.succeeded, "\(outcome)")
      try Warmblk.del(disk)
      disk = try Warmblk.add(image.config)
      outcome = try writes.check(disk)
      #expect(outcome.succeeded, "\(outcome)")
      #expect(try Warmblk.row(disk).errors == 0)
      try Warmblk.del(disk)
    }

    @Test("a sparse upper over an image is made a file system of, written in parts of blocks, and found again")
    func sparse() throws {
      let below = try MountedImage()
      let image = try WritableImage(.ext4, "--parent", below.config, "--size", "24M", "--sparse")
      var disk = try Warmblk.add(image.config)
      try image.mounted(
        disk, "seq 400000 | cmp - $0/numbers; seq 7 | dd of=$0/numbers bs=1 seek=1000000 conv=notrunc status=none")
      // Single sectors beside what is below.
      let hash = "sha256sum <(head -c 1048576 \(disk.path)) | cut -d ' ' -f 1"
      try need(
        "bash", "-ec",
        """
        for n in 1 13 14 15 100 1001 2047; do
          dd if=\(disk.path) of=/tmp/sector bs=512 skip=$n count=1 iflag=direct status=none
          dd if=/tmp/sector of=\(disk.path) bs=512 seek=$n count=1 oflag=direct conv=notrunc status=none
        done
        """)
      let before = try need("bash", "-c", hash)
      try Warmblk.del(disk)
      disk = try Warmblk.add(image.config)
      #expect(try need("bash", "-c", hash) == before)
      try need("e2fsck", "-fn", disk.path)
      let check = """
        seq 400000 | head -c 1000000 | cmp - <(head -c 1000000 $0/numbers)
        seq 7 | cmp - <(tail -c +1000001 $0/numbers | head -c 14)
        seq 400000 | tail -c +1000015 | cmp - <(tail -c +1000015 $0/numbers)
        """
      try image.mounted(disk, options: "ro", check)
      let writes = VerifiedWrites(megabytes: 16)
      var outcome = try writes.write(disk)
      #expect(outcome.succeeded, "\(outcome)")
      try Warmblk.del(disk)
      disk = try Warmblk.add(image.config)
      outcome = try writes.check(disk)
      #expect(outcome.succeeded, "\(outcome)")
      try need("mkfs.ext4", "-qF", disk.path)
      try image.mounted(disk, "cp -aL /usr/bin/bash $0; fstrim $0; sync")
      try Warmblk.del(disk)
      disk = try Warmblk.add(image.config)
      try need("e2fsck", "-fn", disk.path)
      try image.mounted(disk, options: "ro", "cmp /usr/bin/bash $0/bash")
      #expect(try Warmblk.row(disk).errors == 0)
      try Warmblk.del(disk)
    }

    @Test("zeroes and discards hide what is below, and give space back")
    func zeroes() throws {
      let image = try WritableImage(.ext4, "--parent", try Sample.image(.none))
      var disk = try Warmblk.add(image.config)
      let mebibyte = "head -c 1048576 /dev/zero"
      try need("blkdiscard", "-z", "-o", "1M", "-l", "1M", disk.path)
      try need("blkdiscard", "-o", "3M", "-l", "1M", disk.path)
      try need(
        "bash", "-c",
        "\(mebibyte) | tr '\\0' x | dd of=\(disk.path) bs=1M seek=5 oflag=direct iflag=fullblock status=none")
      let full = try image.occupied()
      try need("blkdiscard", "-o", "5M", "-l", "1M", disk.path)
      #expect(try image.occupied() <= full - (1 << 20) + 8192, "a discard has given nothing back")
      for _ in 0..<2 {
        for place in [1, 3, 5] {
          try need("bash", "-c", "cmp -n 1048576 <(tail -c +\(place << 20 | 1) \(disk.path)) /dev/zero")
        }
        let content = try Sample.content()
        try disk.reading(direct: true) { reader in
          for place in [0, 2, 4, 6] {
            let isSame = try reader.matches(content, 1 << 20, at: UInt64(place) << 20)
            #expect(isSame, "MiB \(place) has changed")
          }
        }
        try Warmblk.del(disk)
        disk = try Warmblk.add(image.config)
      }
      try Warmblk.del(disk)
    }

    @Test("fstrim gives the space of deleted files back")
    func trim() throws {
      let image = try WritableImage(.ext4, "--size", "64M")
      let disk = try Warmblk.add(image.config)
      try need("mkfs.ext4", "-q", disk.path)
      try need("mount", disk.path, image.mountPoint)
      try need("bash", "-ec", "head -c 24M /dev/urandom >$0/noise; sync", image.mountPoint)
      let full = try image.occupied()
      try need("bash", "-ec", "rm $0/noise; sync; fstrim $0", image.mountPoint)
      let trimmed = try image.occupied()
      #expect(full > 24 << 20 && trimmed < full - (22 << 20), "\(full) bytes before, \(trimmed) after")
      try need("umount", image.mountPoint)
      try need("e2fsck", "-fn", disk.path)
      try Warmblk.del(disk)
    }

    @Test("a full disk refuses what does not fit, keeps the rest, and goes on when there is room")
    func fullDisk() throws {
      let scratch = try Scratch(.tmpfs)
      let room = scratch("room")
      try makeDirectories(room)
      try need("mount", "-t", "tmpfs", "-o", "size=24M", "tmpfs", room)
      defer { _ = try? run("umount", "-l", room) }
      try need("bash", "-c", "head -c 8M /dev/zero >\(room)/filler")
      let config = try WritableImage.create("\(room)/disk", ["--size", "64M"])
      var disk = try Warmblk.add(config)
      try need(
        "bash", "-c",
        "seq 500000 | head -c 2M | dd of=\(disk.path) bs=64k oflag=direct conv=fsync iflag=fullblock status=none")
      let refused = try run("dd", "if=/dev/zero", "of=\(disk.path)", "bs=64k", "seek=64", "oflag=direct", "status=none")
      #expect(refused.status == 1 && refused.errors.contains("No space left"), "\(refused)")
      let check = "cmp -n 2097152 \(disk.path) <(seq 500000 | head -c 2M)"
      try need("bash", "-c", check)
      let log = Guest.text("/run/warmblk/\(disk.id).log")
      _ = Deadline(milliseconds: 3000).wait(interval: 50) {
        Guest.text("/run/warmblk/\(disk.id).log").contains("make room")
      }
      #expect(Guest.text("/run/warmblk/\(disk.id).log").contains("upper.data is full: make room"), "\(log)")
      try need("rm", "\(room)/filler")
      try need(
        "dd", "if=/dev/urandom", "of=\(disk.path)", "bs=64k", "seek=512", "count=64", "oflag=direct", "conv=fsync",
        "status=none")
      try Warmblk.del(disk)
      disk = try Warmblk.add(config)
      try need("bash", "-c", check)
      try Warmblk.del(disk)
    }

    @Test("all that was acknowledged is there after the server was killed")
    func killed() throws {
      let image = try WritableImage(.ext4, "--size", "32M")
      let writes = VerifiedWrites()
      var disk = try Warmblk.add(image.config, "--no-watch")
      let outcome = try writes.write(disk)
      #expect(outcome.succeeded, "\(outcome)")
      // Not flushed by anybody.
      try need(
        "bash", "-c", "seq 100000 | head -c 256k | dd of=\(disk.path) bs=4k oflag=direct iflag=fullblock status=none")
      kill(try #require(try Warmblk.row(disk).pid), SIGKILL)
      #expect(Deadline(milliseconds: 5000).wait { (try? Warmblk.row(disk).state) == "dead" })
      try Warmblk.del(disk)
      let again = try Warmblk.start(["add", "--config", image.config]).wait(seconds: 60)
      #expect(again.succeeded && again.errors.contains("note: "), "\(again)")
      disk = Disk(id: try #require(UInt32(again.output.dropFirst("/dev/ublkb".count).dropLast())))
      try need("bash", "-c", "cmp -n 262144 \(disk.path) <(seq 100000 | head -c 256k)")
      try Warmblk.del(disk)
    }

    @Test("an upper has one user, and one image")
    func refusals() throws {
      let image = try WritableImage(.ext4, "--parent", try Sample.image(.lz4))
      let disk = try Warmblk.add(image.config)
      for words in [[], ["--read-only"]] {
        let second = try Warmblk.start(["add", "--config", image.config] + words).wait(seconds: 30)
        #expect(second.status == 1 && second.errors.contains("upper.data"), "\(second)")
        #expect(
          second.errors.contains("in use by process") || second.errors.contains("written by a device"), "\(second)")
      }
      try Warmblk.del(disk)
      let before = try need("sha256sum", image.data, image.index)
      let other = try image.scratch.config(
        [try Sample.layerFile(.zstd)], "other.json",
        more: #", "upper": {"data": "\#(image.data)", "index": "\#(image.index)"}"#)
      let outcome = try Warmblk.run("add", "--config", other)
      #expect(outcome.status == 1 && outcome.errors.contains("was made on top of the layer"), "\(outcome)")
      #expect(try need("sha256sum", image.data, image.index) == before, "a refused upper was changed")
    }

    @Test("--read-only reads the upper, and refuses writes")
    func readOnly() throws {
      let image = try WritableImage(.ext4, "--parent", try Sample.image(.lz4))
      var disk = try Warmblk.add(image.config)
      try need(
        "bash", "-c",
        "seq 10000 | head -c 32k | dd of=\(disk.path) bs=4k seek=3 oflag=direct iflag=fullblock conv=fsync status=none")
      try Warmblk.del(disk)
      let before = try need("sha256sum", image.data, image.index)
      disk = try Warmblk.add(image.config, "--read-only")
      #expect(disk.attribute("ro") == "1")
      try need("bash", "-c", "cmp -n 32768 <(tail -c +12289 \(disk.path)) <(seq 10000 | head -c 32k)")
      let refused = try run("dd", "if=/dev/zero", "of=\(disk.path)", "bs=4k", "count=1", "oflag=direct", "status=none")
      #expect(refused.status == 1, "\(refused)")
      try Warmblk.del(disk)
      #expect(try need("sha256sum", image.data, image.index) == before)
    }
  }
}
