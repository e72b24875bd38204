/// Where a block group has its own things.
struct Ext4Group {
  let blockBitmap: UInt64
  let inodeBitmap: UInt64
  let inodeTable: UInt64
  /// Inodes at the end of the table that were never used.
  let unusedInodes: UInt64
  /// No inode is used, and the bitmap and table were perhaps never written.
  let hasNoInodes: Bool
  /// The block bitmap was never written.
  let hasNoBlockBitmap: Bool
}

extension Ext4 {
  func group(_ number: UInt64) throws(FileSystemError) -> Ext4Group {
    let perBlock = blockSize / layout.descriptorSize
    let block = descriptorBlock(number / perBlock)
    let start = try range(block, 1, .group(number)).lowerBound + number % perBlock * layout.descriptorSize
    let record = try disk.bytes(at: start, count: Int(layout.descriptorSize))
    let isWide = layout.descriptorSize >= 64
    func wide(_ low: Int, _ high: Int) -> UInt64 { record.u32(low) | (isWide ? record.u32(high) << 32 : 0) }
    let flags = record.u16(0x12)
    let unused = UInt64(record.u16(0x1C)) | (isWide ? UInt64(record.u16(0x32)) << 16 : 0)
    // Flags and the count mean something only under a checksum; without one, all inodes may be in use.
    return Ext4Group(
      blockBitmap: wide(0, 0x20), inodeBitmap: wide(4, 0x24), inodeTable: wide(8, 0x28),
      unusedInodes: layout.countsUnused ? min(unused, layout.inodesPerGroup) : 0,
      hasNoInodes: layout.countsUnused && flags & 1 != 0, hasNoBlockBitmap: layout.countsUnused && flags & 2 != 0)
  }

  /// How many blocks all descriptors take.
  var descriptorBlocks: UInt64 { layout.groupCount.dividedUp(by: blockSize / layout.descriptorSize) }

  /// Which block has the `index`th block of descriptors. With `meta_bg` they are spread over the groups that they
  /// describe (Linux, `descriptor_loc`).
  func descriptorBlock(_ index: UInt64) -> UInt64 {
    let superblock = Ext4Superblock.offset / blockSize
    guard layout.incompatible & Ext4Superblock.Incompatible.metaGroups != 0, index >= layout.firstMetaGroup else {
      return superblock + index + 1
    }
    let group = index * (blockSize / layout.descriptorSize)
    var block = layout.firstDataBlock + group * layout.blocksPerGroup + (hasSuperblock(group) ? 1 : 0)
    // Blocks of 1 KiB that are counted from 0, as mke2fs makes with bigalloc: the superblock is in block 1.
    if blockSize == 1024, index == 0, layout.firstDataBlock == 0 { block += 1 }
    return block
  }

  private func hasSuperblock(_ group: UInt64) -> Bool {
    if group == 0 { return true }
    if layout.compatible & Ext4Superblock.Compatible.sparse2 != 0 { return layout.backupGroups.contains(group) }
    if group == 1 || layout.readOnly & Ext4Superblock.ReadOnly.sparse == 0 { return true }
    return [UInt64(3), 5, 7].contains { base in
      var power = base
      while power < group { power *= base }
      return power == group
    }
  }
}
