import Testing

extension OnDevice {
  struct WritableToolTests {
    /// What a command says when it refuses.
    private func refusal(_ words: String...) throws -> String {
      let outcome = try Warmblk.start(words).wait(seconds: 60)
      #expect(!outcome.succeeded && outcome.output.isEmpty, "\(outcome)")
      return outcome.errors
    }

    @Test("a mounted ext4 grows with its disk, and all of it is there later")
    func growing() throws {
      let image = try WritableImage(.ext4, "--size", "64M")
      var disk = try Warmblk.add(image.config)
      try need("mkfs.ext4", "-q", disk.path)
      if Guest.kernel == "6.12" {
        #expect(try refusal("resize", "-n", "\(disk.id)", "128M").contains("UPDATE_SIZE"))
        try Warmblk.del(disk)
        try need(Guest.binary, "resize", "--config", image.config, "128M")
        disk = try Warmblk.add(image.config)
      } else {
        try image.mounted(
          disk,
          """
          seq 300000 >$0/before; df --output=size -k $0 | tail -1 >$0/size
          \(Guest.binary) resize -n \(disk.id) 128M >$0/said
          resize2fs \(disk.path) 2>/dev/null >/dev/null
          test $(df --output=size -k $0 | tail -1) -gt $(($(cat $0/size) * 3 / 2))
          head -c 60000000 /dev/urandom >$0/after; sha256sum <$0/after >$0/sum
          """)
        #expect(try Warmblk.row(disk).size == 128 << 20)
        #expect(try refusal("resize", "-n", "\(disk.id)", "64M").contains("only grow"))
        #expect(try need(Guest.binary, "resize", "-n", "\(disk.id)", "128M") == "128 MiB before, 128 MiB now")
        try need("e2fsck", "-fn", disk.path)
        try Warmblk.del(disk)
        disk = try Warmblk.add(image.config)
        try image.mounted(disk, options: "ro", "seq 300000 | cmp - $0/before; sha256sum <$0/after | cmp - $0/sum")
      }
      #expect(disk.attribute("size") == "\((128 << 20) / 512)")
      #expect(try Warmblk.row(disk).size == 128 << 20)
      try Warmblk.del(disk)
    }

    @Test("commands that need a disk to rest refuse one that a device has, and do their work when it has gone")
    func resting() throws {
      let image = try WritableImage(.ext4, "--size", "64M")
      let disk = try Warmblk.add(image.config)
      try need("mkfs.ext4", "-q", disk.path)
      try image.mounted(disk, "seq 200000 >$0/numbers")
      let layer = image.scratch("layer")
      let raw = image.scratch("raw")
      for words in [
        ["commit", image.config, "-o", layer], ["merge", "--config", image.config, "-o", layer],
        ["export", image.config, raw], ["seal", image.config], ["resize", "--config", image.config, "1G"],
      ] {
        let outcome = try Warmblk.start(words).wait(seconds: 60)
        #expect(!outcome.succeeded && outcome.errors.contains(image.data), "\(outcome)")
      }
      #expect(try need(Guest.binary, "inspect", image.config).contains("in use"))
      #expect(try refusal("resize", "-n", "\(disk.id + 1)", "1G").contains("no device"))
      try Warmblk.del(disk)
      try need(Guest.binary, "export", image.config, raw)
      try need(Guest.binary, "commit", image.config, "-o", layer, "--compress", "lz4")
      try need(Guest.binary, "merge", "--config", image.config, "-o", layer + ".flat", "--compress", "zstd")
      try need(Guest.binary, "seal", image.config)
      for lower in [layer, layer + ".flat", image.data] {
        let config = try image.scratch.write("one.json", "{\"lowers\": [{\"file\": \"\(lower)\"}]}")
        let one = try Warmblk.add(config)
        try need("cmp", one.path, raw)
        try Warmblk.del(one)
      }
      // The sealed disk is a parent like any other.
      let next = try WritableImage.create(image.scratch("next"), ["--parent", image.config])
      let above = try Warmblk.add(next)
      try image.mounted(above, "seq 200000 | cmp - $0/numbers; echo more >$0/more")
      try need("e2fsck", "-fn", above.path)
      try Warmblk.del(above)
    }
  }
}
