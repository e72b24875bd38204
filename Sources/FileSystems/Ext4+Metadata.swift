extension Ext4 {
  /// Inodes that are read at once, in bytes.
  private static let step: UInt64 = 1 << 18

  /// Superblock, descriptors, the journal's first block, bitmaps, used inodes, and of these directories, attributes, trees of extents
  /// and blocks of block numbers: all that mounting and walking want.
  func metadata(
    into take: (DiskRange) throws(FileSystemError) -> Void,
    problem: (UInt64, FileSystemError) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    try take(Ext4Superblock.offset..<Ext4Superblock.offset + UInt64(Ext4Superblock.size))
    for index in 0..<descriptorBlocks { try take(try range(descriptorBlock(index), 1, .superblock)) }
    if layout.journalInode > 0, layout.journalInode <= layout.inodeCount { try takeJournal(take, problem) }
    for number in 0..<layout.groupCount {
      try disk.work(1)
      let group = try group(number)
      if !group.hasNoBlockBitmap { try take(try range(group.blockBitmap, 1, .group(number))) }
      if !group.hasNoInodes { try take(try range(group.inodeBitmap, 1, .group(number))) }
    }
    for number in 0..<layout.groupCount { try takeInodes(of: number, take, problem) }
  }

  /// A mount reads the first block of a journal, which says that it is empty.
  private func takeJournal(
    _ take: (DiskRange) throws(FileSystemError) -> Void,
    _ problem: (UInt64, FileSystemError) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    let number = layout.journalInode
    do throws(FileSystemError) {
      guard let node = Self.node(number, try record(number), false) else { return }
      if let first = try content(of: node).first { try take(first.lowerBound..<first.lowerBound + blockSize) }
    } catch {
      if error.endsAll { throw error }
      try problem(number, error)
    }
    try takeTouched(take)
  }

  private func takeInodes(
    of number: UInt64, _ take: (DiskRange) throws(FileSystemError) -> Void,
    _ problem: (UInt64, FileSystemError) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    let group = try group(number)
    if group.hasNoInodes { return }
    let start = try inodeTable(group, number).lowerBound
    let end = start + (layout.inodesPerGroup - group.unusedInodes) * layout.inodeSize
    var position = start
    while position < end {
      let bytes = try disk.bytes(at: position, count: Int(min(Self.step, end - position)))
      // Blocks of the table, before what its inodes lead to.
      try takeTouched(take)
      for offset in stride(from: 0, to: bytes.count, by: Int(layout.inodeSize)) {
        let inode = number * layout.inodesPerGroup + (position - start + UInt64(offset)) / layout.inodeSize + 1
        let record = Array(bytes[offset..<offset + Int(layout.inodeSize)])
        guard inode == root || inode >= layout.firstInode, let node = Self.node(inode, record, largeDirectories) else {
          continue
        }
        do throws(FileSystemError) { try takeTree(of: node, take) } catch {
          if error.endsAll { throw error }
          try problem(inode, error)
        }
        try takeTouched(take)
      }
      position += UInt64(bytes.count)
    }
  }

  /// What belongs to an inode without being the content of a file.
  private func takeTree(
    of node: Node, _ take: (DiskRange) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    try disk.work(1)
    let attributes = node.record.u32(0x68) | UInt64(node.record.u16(0x76)) << 32
    if attributes != 0 { try take(try range(attributes, 1, .inode(node.number))) }
    switch node.kind {
    case .directory: for range in try content(of: node) { try take(range) }
    // Reading the tree takes its blocks.
    case .file: _ = try content(of: node)
    case .link where !has(InodeFlag.encrypted, node): _ = try target(of: node)
    case .link, .other: break
    }
  }

  private func takeTouched(_ take: (DiskRange) throws(FileSystemError) -> Void) throws(FileSystemError) {
    for range in disk.takeTouched() { try take(range) }
  }
}
