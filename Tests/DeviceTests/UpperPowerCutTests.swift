import CLinux
import Glibc
import Posix
import TestSupport
import Testing

extension OnDevice {
  /// Two machines with one disk: the first loses its power while devices are written whose uppers lie on it, the second
  /// looks at what is left. scripts/test starts both, and says to each which it is.
  struct UpperPowerCutTests {
    private static let part = Guest.environment("WARMBLK_POWER_CUT")
    private static let log = Guest.environment("WARMBLK_POWER_CUT_LOG") ?? ""
    private static let disk = "/dev/vda"
    private static let folder = "/run/warmblk-disk"
    private static let mountPoint = "/run/warmblk-mounted"
    private static let sectors = 64 << 11

    @Test("the power is cut while uppers are written", .enabled(if: part == "cut"))
    func cut() throws {
      var random = SplitMix.announced("power cut")
      let kind = ["ext4", "xfs", "btrfs"].randomElement(using: &random)!
      try need("mkfs.\(kind)", "-q", Self.disk)
      try makeDirectories(Self.folder)
      try need("mount", "-t", kind, Self.disk, Self.folder)
      try need("sh", "-c", "cd /proc/sys/vm && echo 10 >dirty_writeback_centisecs && echo 20 >dirty_expire_centisecs")
      for name in ["raw", "mounted"] {
        try need(Guest.binary, "create", "--size", "64M", "-o", "\(Self.folder)/\(name)")
      }
      try need("sync")

      let mounted = try Warmblk.add("\(Self.folder)/mounted/image.json")
      try need("mkfs.ext4", "-q", mounted.path)
      try makeDirectories(Self.mountPoint)
      try need("mount", mounted.path, Self.mountPoint)
      try need("sh", "-c", "seq 100000 >\(Self.mountPoint)/numbers && sync -f \(Self.mountPoint)")
      let busy = try Program([
        "fio", "--name=busy", "--directory=\(Self.mountPoint)", "--rw=randwrite", "--bs=4k", "--size=8M", "--fsync=8",
        "--time_based", "--runtime=60",
      ])
      let raw = try Warmblk.add("\(Self.folder)/raw/image.json")
      try Self.write(raw, kind, &random)
      _ = busy
      Issue.record("the power was not cut")
    }

    /// Writes until the machine is gone.
    private static func write(_ disk: Disk, _ kind: String, _ random: inout SplitMix) throws {
      let log = try SectorLog(Self.log)
      let plain = try Descriptor.open(disk.path, O_RDWR | Disk.direct)
      let synced = try Descriptor.open(disk.path, O_RDWR | Disk.direct | O_DSYNC)
      let memory = try MemoryMapping(anonymous: 1 << 16)
      let cut = Deadline(milliseconds: Int.random(in: 1000..<5000, using: &random))
      let end = Deadline(milliseconds: 20_000)
      var isCut = false
      while !end.hasPassed {
        if cut.hasPassed, !isCut {
          print("\(kind): the power is cut")
          try writeFileAtomically("/run/vm/cut", [])
          isCut = true
        }
        let count = [1, 8, 8, 8, 16, 128].randomElement(using: &random)!
        // A part of the disk is written again and again.
        let start = Int.random(in: 0..<(Bool.random(using: &random) ? 2048 : sectors - count), using: &random)
        let isZeroes = Int.random(in: 0..<8, using: &random) == 0
        let write = try log.begin(start..<start + count, isZeroes: isZeroes)
        if isZeroes {
          let result = clinux_punch_hole(plain.rawValue, Int64(start) << 9, Int64(count) << 9)
          try #require(result == 0, "fallocate: \(Errno.last)")
        } else {
          for sector in write.sectors {
            (memory.base + (sector - start) << 9).copyMemory(
              from: SectorLog.content(sector, write.number), byteCount: 512)
          }
          let bytes = UnsafeRawBufferPointer(start: memory.base, count: count << 9)
          if Int.random(in: 0..<6, using: &random) == 0 {
            try synced.writeFully(bytes, at: UInt64(start) << 9)
            try log.synced(write)
          } else {
            try plain.writeFully(bytes, at: UInt64(start) << 9)
          }
        }
        if Int.random(in: 0..<6, using: &random) == 0 {
          try plain.synchronize()
          try log.flushed()
        }
      }
    }

    @Test("after a power cut every flushed sector is there, and no other is torn", .enabled(if: part == "look"))
    func look() throws {
      try makeDirectories(Self.folder)
      try need("mount", Self.disk, Self.folder)
      let raw = try Warmblk.addWarned("\(Self.folder)/raw/image.json")
      let allowed = try SectorLog.allowed(Self.log, sectors: Self.sectors)
      try raw.reading(direct: true) { disk in
        for start in stride(from: 0, to: Self.sectors, by: DiskReader.step / 512) {
          let bytes = try disk.read(DiskReader.step, at: UInt64(start) << 9)
          try #require(bytes.count == DiskReader.step)
          for sector in start..<start + DiskReader.step / 512 {
            let found = UnsafeRawBufferPointer(rebasing: bytes[(sector - start) << 9..<(sector - start + 1) << 9])
            let isRight = allowed[sector].contains { Self.isOf($0, sector, found) }
            try #require(
              isRight,
              "sector \(sector): \(Array(found.prefix(16))), allowed \(allowed[sector].map { $0?.number ?? 0 })")
          }
        }
      }
      try Warmblk.del(raw)

      let mounted = try Warmblk.addWarned("\(Self.folder)/mounted/image.json")
      try makeDirectories(Self.mountPoint)
      // Replays the journal.
      try need("mount", mounted.path, Self.mountPoint)
      try need("sh", "-c", "seq 100000 | cmp - \(Self.mountPoint)/numbers")
      try need("umount", Self.mountPoint)
      let check = try run("e2fsck", "-fn", mounted.path)
      #expect(check.succeeded, "\(check)")
      try Warmblk.del(mounted)
      for name in ["raw", "mounted"] { try need(Guest.binary, "inspect", "\(Self.folder)/\(name)/image.json") }
    }

    private static func isOf(_ write: SectorLog.Write?, _ sector: Int, _ found: UnsafeRawBufferPointer) -> Bool {
      guard let write, !write.isZeroes else { return isZero(found) }
      return SectorLog.content(sector, write.number).elementsEqual(found)
    }
  }
}
