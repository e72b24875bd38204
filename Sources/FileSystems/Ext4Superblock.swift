/// The superblock of ext2, ext3 and ext4: what is needed to find inodes and blocks (Linux, `fs/ext4/ext4.h`).
///
/// Checksums are not checked: what is made of the file system is a list of ranges to fetch, and a wrong one costs a
/// useless fetch. Bounds are.
struct Ext4Superblock: Equatable {
  let blockSize: UInt64
  /// Blocks of the whole file system.
  let blockCount: UInt64
  let firstDataBlock: UInt64
  let blocksPerGroup: UInt64
  let inodesPerGroup: UInt64
  let inodeCount: UInt64
  let inodeSize: UInt64
  /// Inodes before this one are the file system's own.
  let firstInode: UInt64
  /// Bytes of a group's descriptor.
  let descriptorSize: UInt64
  let firstMetaGroup: UInt64
  let journalInode: UInt64
  /// With `sparse_super2`, the groups that have copies.
  let backupGroups: [UInt64]
  let compatible: UInt64
  let incompatible: UInt64
  let readOnly: UInt64

  static let offset: UInt64 = 1024
  static let size = 1024

  /// `feature_incompat`.
  enum Incompatible {
    static let compression: UInt64 = 0x1
    static let fileType: UInt64 = 0x2
    static let journalDevice: UInt64 = 0x8
    static let metaGroups: UInt64 = 0x10
    static let wide: UInt64 = 0x80
    static let directoryData: UInt64 = 0x1000
    static let largeDirectories: UInt64 = 0x4000
    /// All whose files can be found here: those above without compression, journal_dev and dirdata, and needs_recovery,
    /// extents, mmp, flex_bg, ea_inode, csum_seed, inline_data, encrypt, casefold.
    static let known: UInt64 =
      0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x3_0000
  }

  /// `feature_ro_compat`.
  enum ReadOnly {
    static let sparse: UInt64 = 0x1
    static let groupChecksum: UInt64 = 0x10
    static let metadataChecksum: UInt64 = 0x400
  }

  /// `feature_compat`.
  enum Compatible {
    static let sparse2: UInt64 = 0x200
  }

  static func isThere(_ record: [UInt8]) -> Bool { record.u16(0x38) == 0xEF53 }

  /// - Parameter record: the 1024 bytes at byte 1024.
  init(_ record: [UInt8], diskSize: UInt64) throws(FileSystemError) {
    func check(_ condition: Bool, _ problem: @autoclosure () -> String) throws(FileSystemError) {
      if !condition { throw .damaged(.superblock, problem()) }
    }
    let hasFeatures = record.u32(0x4C) > 0
    compatible = hasFeatures ? record.u32(0x5C) : 0
    incompatible = hasFeatures ? record.u32(0x60) : 0
    readOnly = hasFeatures ? record.u32(0x64) : 0
    try Self.checkFeatures(incompatible)

    try check(record.u32(0x18) <= 6, "has blocks of 2^\(record.u32(0x18)) KiB")
    blockSize = 1024 << record.u32(0x18)
    let isWide = incompatible & Incompatible.wide != 0
    blockCount = record.u32(0x4) | (isWide ? record.u32(0x150) << 32 : 0)
    firstDataBlock = record.u32(0x14)
    try check(firstDataBlock <= 1 && firstDataBlock < blockCount, "begins at block \(firstDataBlock) of \(blockCount)")
    try check(
      blockCount <= diskSize / blockSize,
      "speaks of \(blockCount) blocks of \(blockSize) bytes; the disk has \(diskSize) bytes")

    inodeSize = hasFeatures ? UInt64(record.u16(0x58)) : 128
    try check(
      inodeSize >= 128 && inodeSize <= blockSize && inodeSize.nonzeroBitCount == 1, "has inodes of \(inodeSize) bytes")
    firstInode = hasFeatures ? record.u32(0x54) : 11
    blocksPerGroup = record.u32(0x20)
    inodesPerGroup = record.u32(0x28)
    inodeCount = record.u32(0)
    try check(blocksPerGroup >= 8, "has groups of \(blocksPerGroup) blocks")
    try check(
      inodesPerGroup >= 1 && inodesPerGroup <= 8 * blockSize, "has groups of \(inodesPerGroup) inodes")
    let groups = (blockCount - firstDataBlock).dividedUp(by: blocksPerGroup)
    try check(
      groups <= inodeCount && groups * inodesPerGroup == inodeCount,
      "speaks of \(inodeCount) inodes; \(groups) groups have \(inodesPerGroup) each")

    descriptorSize = isWide ? UInt64(record.u16(0xFE)) : 32
    try check(
      descriptorSize >= (isWide ? 64 : 32) && descriptorSize <= 1024 && descriptorSize.nonzeroBitCount == 1,
      "has group descriptors of \(descriptorSize) bytes")
    firstMetaGroup = record.u32(0x104)
    journalInode = hasFeatures ? record.u32(0xE0) : 0
    backupGroups = [record.u32(0x24C), record.u32(0x250)]
  }

  private static func checkFeatures(_ incompatible: UInt64) throws(FileSystemError) {
    if incompatible & Incompatible.journalDevice != 0 { throw .unsupported("the disk is the journal of another ext4") }
    if incompatible & Incompatible.compression != 0 { throw .unsupported("the file system is ext2 with compression") }
    if incompatible & Incompatible.directoryData != 0 { throw .unsupported("the file system is ext4 with dirdata") }
    let unknown = incompatible & ~Incompatible.known
    if unknown != 0 {
      throw .unsupported(
        "the file system is ext4 with features of a later time (incompat 0x\(String(unknown, radix: 16)))")
    }
  }

  var groupCount: UInt64 { (blockCount - firstDataBlock).dividedUp(by: blocksPerGroup) }

  /// Whether descriptors say how many inodes of a group were never used.
  var countsUnused: Bool { readOnly & (ReadOnly.groupChecksum | ReadOnly.metadataChecksum) != 0 }
}
