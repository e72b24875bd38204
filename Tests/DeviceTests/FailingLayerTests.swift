import Glibc
import Posix
import Testing

extension OnDevice {
  struct FailingLayerTests {
    /// Reads a disk, or a range of it, in pieces, each of which must be right or fail: the offsets of both.
    private func sort(
      _ disk: Disk, _ content: RawContent, in range: Range<Int>? = nil, step: Int = RawContent.step
    ) throws -> (right: [Int], failed: [Int]) {
      let range = range ?? 0..<content.count
      return try disk.reading(direct: true) { reader in
        var pieces: (right: [Int], failed: [Int]) = ([], [])
        for offset in stride(from: range.lowerBound, to: range.upperBound, by: step) {
          let count = min(step, range.upperBound - offset)
          do {
            let isEqual = try reader.matches(content, count, at: UInt64(offset))
            #expect(isEqual, "wrong bytes at \(offset)")
            pieces.right.append(offset)
          } catch let error as Errno {
            #expect(error == .ioError, "at \(offset)")
            pieces.failed.append(offset)
          }
        }
        return pieces
      }
    }

    /// The failures are counted, and the log says in which file, and where.
    private func checkReport(_ disk: Disk, names layer: String) throws {
      let row = try Warmblk.row(disk)
      #expect(row.state == "live" && row.errors ?? 0 > 0, "\(row)")
      let isNamed = Deadline(milliseconds: 5000).wait(interval: 50) {
        let log = Guest.text("/run/warmblk/\(disk.id).log")
        return log.contains(layer) && log.contains("offset")
      }
      #expect(
        isNamed, "the log does not name \(layer) and the offset: \(Guest.text("/run/warmblk/\(disk.id).log"))"
      )
    }

    @Test(
      "a layer that is cut short fails where its bytes are gone, and nowhere else",
      arguments: Sample.Codec.allCases)
    func cut(_ codec: Sample.Codec) throws {
      let scratch = try Scratch()
      let content = try Sample.content()
      let (config, layer) = try Sample.copy(codec, to: scratch)
      let disk = try Warmblk.add(config)
      let other = try Warmblk.add(try Sample.image(codec))
      let size = try Descriptor.open(layer).status().st_size
      // Within a page, of which memory keeps the rest as zeroes.
      try Descriptor.open(layer, O_WRONLY).truncate(to: UInt64(size / 2) / 4096 * 4096 + 512)
      let pieces = try sort(disk, content)
      let middle = content.count / 2
      #expect(
        pieces.right.allSatisfy { $0 < middle + (1 << 20) || $0 > content.count - (1 << 20) }, "\(pieces)")
      #expect(pieces.failed.allSatisfy { $0 > middle - (1 << 20) } && !pieces.failed.isEmpty, "\(pieces)")
      let end = pieces.failed[0]..<min(pieces.failed[0] + RawContent.step, content.count)
      let sectors = try sort(disk, content, in: end, step: 512)
      #expect(!sectors.failed.isEmpty, "the sectors of \(end)")
      let failure = try disk.reading(direct: false) { $0.failure(4096, at: UInt64(pieces.failed[1])) }
      #expect(failure == .ioError, "through the page cache")
      try checkReport(disk, names: layer)
      try other.reading(direct: true) { try $0.compare(with: content, "the other disk") }
      #expect(try Warmblk.row(other).errors == 0)
      try Warmblk.del(disk)
      try Warmblk.del(other)
    }

    @Test(
      "a damaged block is an error, never wrong bytes, and only until it is repaired",
      arguments: [Sample.Codec.lz4, .zstd])
    func damaged(_ codec: Sample.Codec) throws {
      let scratch = try Scratch()
      let content = try Sample.content()
      let (config, layer) = try Sample.copy(codec, to: scratch)
      let disk = try Warmblk.add(config)
      let places = try Descriptor.open(layer).status().st_size
      let offsets = [places / 4, places / 2, places / 3 * 2].map { UInt64($0) }
      try flip(layer, offsets)
      let pieces = try sort(disk, content)
      #expect((2...6).contains(pieces.failed.count), "\(pieces)")
      try checkReport(disk, names: layer)
      try flip(layer, offsets)
      #expect(try sort(disk, content).failed.isEmpty)
      try Warmblk.del(disk)
    }

    /// Turns the bits of a byte on disk, with no page of the file left in memory.
    private func flip(_ path: String, _ offsets: [UInt64]) throws {
      let file = try Descriptor.open(path, O_RDWR)
      for offset in offsets {
        var byte = [UInt8](repeating: 0, count: 1)
        try byte.withUnsafeMutableBytes { _ = try file.readFully(into: $0, at: offset) }
        byte[0] ^= 0xff
        try byte.withUnsafeBytes { try file.writeFully($0, at: offset) }
      }
      try file.synchronize()
      try need("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
    }

    @Test(
      "a layer whose disk fails is an error where it failed, right bytes elsewhere, and no other device's concern",
      arguments: Sample.Codec.allCases)
    func failingDisk(_ codec: Sample.Codec) throws {
      let scratch = try Scratch()
      let content = try Sample.content()
      let disk = try FailingDisk()
      let layer = "\(disk.mountPoint)/layer"
      // The image's own configuration names the original by its absolute path.
      try need("cp", try Sample.copy(codec, to: scratch).layer, layer)
      try need("sync", "-f", disk.mountPoint)
      let failing = try Warmblk.add(try scratch.config([layer]))
      let other = try Warmblk.add(try Sample.image(codec))

      try disk.fail(.everyOtherMiB)
      let pieces = try sort(failing, content)
      #expect(pieces.failed.count > 10 && pieces.right.count > 10, "\(pieces)")
      try checkReport(failing, names: layer)
      let failure = try failing.reading(direct: false) { $0.failure(4096, at: UInt64(pieces.failed[1])) }
      #expect(failure == .ioError, "through the page cache")
      try other.reading(direct: true) { try $0.compare(with: content, "the other disk") }

      try disk.fail(.everything)
      // The blocks that queues decoded last are theirs until there was nothing to do for one to two seconds.
      sleep(4)
      let none = try sort(failing, content)
      // Pages that user copy has mapped stay in memory when caches are dropped; what is read of them was right before.
      let kept = try Warmblk.row(failing).data == "user-copy" ? Set(pieces.right) : []
      #expect(kept.isSuperset(of: none.right), "read although the disk gives nothing: \(none.right)")
      #expect(Set(pieces.failed).isSubset(of: none.failed), "failed before, and the disk gives nothing")
      try other.reading(direct: true) { try $0.compare(with: content, "the other disk") }
      #expect(try Warmblk.row(other).errors == 0)

      try disk.fail(.nothing)
      #expect(try sort(failing, content).failed.isEmpty, "the disk works again")
      try Warmblk.del(failing)
      try Warmblk.del(other)
    }
  }
}
