/// Which file system fills a disk.
enum FileSystemDetection {
  /// What has magic bytes of its own, and is not read here.
  private static let others: [(offset: UInt64, magic: [UInt8], name: String)] = [
    (0, Array("XFSB".utf8), "XFS"), (0x10040, Array("_BHRfS_M".utf8), "Btrfs"), (0, Array("hsqs".utf8), "SquashFS"),
    (1024, [0x10, 0x20, 0xF5, 0xF2], "F2FS"), (3, Array("NTFS    ".utf8), "NTFS"), (3, Array("EXFAT   ".utf8), "exFAT"),
    (82, Array("FAT32   ".utf8), "FAT"), (54, Array("FAT1".utf8), "FAT"), (32769, Array("CD001".utf8), "ISO 9660"),
    (0, Array("LUKS".utf8) + [0xBA, 0xBE], "an encrypted disk (LUKS)"), (512, Array("LABELONE".utf8), "an LVM volume"),
    (4086, Array("SWAPSPACE2".utf8), "swap space"),
  ]

  /// Opens what is there.
  ///
  /// - Throws: `noFileSystem`, `partitioned`, `unsupported`, `damaged`, `read`.
  static func open(_ disk: Disk) throws(FileSystemError) -> any FileSystem {
    if disk.size >= Ext4Superblock.offset + UInt64(Ext4Superblock.size) {
      let record = try disk.bytes(at: Ext4Superblock.offset, count: Ext4Superblock.size)
      if ErofsSuperblock.isThere(record) { return try Erofs(disk, superblock: record) }
      if Ext4Superblock.isThere(record) { return try Ext4(disk, superblock: record) }
    }
    for other in others where disk.size >= other.offset + UInt64(other.magic.count) {
      if try disk.bytes(at: other.offset, count: other.magic.count) == other.magic {
        throw .noFileSystem(found: other.name)
      }
    }
    try PartitionTable.check(disk)
    throw .noFileSystem(found: nil)
  }
}
