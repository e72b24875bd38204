import Glibc
import Posix
import Testing
import TestSupport

extension OnDevice {
  @Suite(.enabled(if: Fixtures.areHere, Fixtures.absence))
  struct FixtureTests {
    /// Every file that holds a layer: as upstream wrote it, and some wrapped in a tar by the machine's own.
    static func variants(of layer: Int, in scratch: Scratch) throws -> [String] {
      let prefix = "l\(layer)."
      var names = try Fixtures.names(in: "lsmt", prefix).filter {
        $0.hasSuffix(".lsmt") || $0.hasSuffix(".sealed")
      }
      names += try Fixtures.names(in: "zfile", prefix)
      names += try Fixtures.names(in: "tar", prefix)
      var paths = try names.map { try scratch.copy(Fixtures.path($0)) }
      let wrapped = [
        ["l0.lib.zstd.4k.crc1.ow1.zf", "l0.zfile.lz4.4k.zf"], ["l1.sealed", "l1.commit.lz4.64k.zf"],
        ["l2.lib.zstd.8k.crc0.ow0.zf"],
      ]
      for (number, name) in wrapped[layer].enumerated() {
        let format = (number + layer).isMultiple(of: 2) ? "ustar" : "pax"
        let folder = scratch("\(name).d")
        try makeDirectories(folder)
        try need("cp", scratch(name), "\(folder)/overlaybd.commit")
        try need(
          "tar", "--format=\(format)", "-C", folder, "-cf", scratch("\(name).\(format)"), "overlaybd.commit")
        paths.append(scratch("\(name).\(format)"))
      }
      return paths
    }

    @Test(
      "layers in every compression and wrapping, mixed, read as the model says",
      arguments: [Scratch.Place.ext4, .tmpfs])
    func everyVariant(_ place: Scratch.Place) throws {
      let scratch = try Scratch(place)
      let layers = try (0...2).map { try Self.variants(of: $0, in: scratch) }
      #expect(layers[0].count >= 15 && layers[1].count >= 8 && layers[2].count >= 5)
      // Each variant at least once from a disk; in memory, where files are read another way, some with other neighbours.
      let (count, shift) = place == .ext4 ? (layers[0].count, 0) : (6, 3)
      let stacks = (0..<count).map { number in
        (0...2).map { layers[$0][(number + shift * $0) % layers[$0].count] }
      }
      let configs = try stacks.enumerated().map { try scratch.config($1, "\($0).json") }
      let expected = try Fixtures.expected()
      for batch in stride(from: 0, to: stacks.count, by: 6).map({ $0..<min($0 + 6, stacks.count) }) {
        let disks = try Warmblk.add(each: Array(configs[batch]))
        for (disk, stack) in zip(disks, stacks[batch]) {
          let comment = Comment(
            rawValue: stack.map { $0.split(separator: "/").last! }.joined(separator: " + "))
          try disk.reading(direct: true) {
            try $0.compare(with: expected, whole: stack == stacks[0], comment)
          }
          try disk.reading(direct: false) { try pieces($0, expected, comment) }
        }
        let outcome = try Warmblk.run("del", "--all")
        #expect(outcome.succeeded, "\(outcome)")
      }
    }

    /// Pieces of any size and alignment, through the page cache.
    private func pieces(_ reader: borrowing DiskReader, _ expected: RawContent, _ comment: Comment) throws {
      var random = SplitMix(state: 12)
      for _ in 0..<40 {
        let bound = [131_072, 1 << 20, 8 << 20, expected.count].randomElement(using: &random)!
        let start = Int.random(in: 0..<bound, using: &random)
        let count = Int.random(in: 1...min(70_000, expected.count - start), using: &random)
        try #require(
          try reader.matches(expected, count, at: UInt64(start)), "\(comment), \(count) bytes at \(start)")
      }
      let tail = UInt64(expected.count - 5)
      let bytes = try reader.read(4096, at: tail)
      #expect(bytes.elementsEqual(UnsafeRawBufferPointer(start: expected.base + Int(tail), count: 5)))
    }

    @Test("a stack of one, two and three layers has the digest that upstream's tools read", arguments: 0...2)
    func digests(_ top: Int) throws {
      let scratch = try Scratch()
      let names = ["lsmt/l0.lsmt", "zfile/l1.commit.lz4.4k.zf", "zfile/l2.lib.zstd.8k.crc0.ow0.zf"]
      let disk = try Warmblk.add(
        try scratch.config(names[...top].map { try scratch.copy(Fixtures.path($0)) }))
      #expect(try need("sha256sum", disk.path).prefix(64) == Fixtures.digest(top))
      try Warmblk.del(disk)
    }

    @Test("sectors beyond 2 TiB read as the fixture's README says")
    func beyond2TiB() throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(
        try scratch.config([try scratch.copy(Fixtures.path("quirks/over2TiB.lsmt"))]))
      let written: [UInt64] = [0, 1, 100, 1 << 32 - 1, 1 << 32, 1 << 32 + 5, 1 << 32 + 100, 1 << 32 + 5000]
      for direct in [true, false] {
        try disk.reading(direct: direct) { reader in
          #expect(reader.size == 4 << 40)
          for (number, sector) in written.enumerated() {
            let bytes = try reader.read(512, at: sector * 512)
            #expect(bytes.count == 512 && bytes.allSatisfy { $0 == UInt8(number + 1) }, "sector \(sector)")
            for neighbour in [sector &- 1, sector + 1]
            where neighbour < 1 << 33 && !written.contains(neighbour) {
              #expect(isZero(try reader.read(512, at: neighbour * 512)), "sector \(neighbour)")
            }
          }
          #expect(isZero(try reader.read(4096, at: 4 << 40 - 4096)))
        }
      }
      try Warmblk.del(disk)
    }

    @Test("a layer without segments is a disk of zeroes")
    func empty() throws {
      let scratch = try Scratch()
      let disk = try Warmblk.add(try scratch.config([try scratch.copy(Fixtures.path("quirks/empty.lsmt"))]))
      try disk.reading(direct: true) { reader in
        #expect(reader.size > 0)
        for offset in stride(from: 0, to: reader.size, by: DiskReader.step) {
          let bytes = try reader.read(Int(min(UInt64(DiskReader.step), reader.size - offset)), at: offset)
          #expect(!bytes.isEmpty && isZero(bytes))
        }
      }
      try Warmblk.del(disk)
    }
  }
}
