extension Ext4 {
  /// Flags of an inode.
  enum InodeFlag {
    static let encrypted: UInt64 = 0x800
    static let extents: UInt64 = 0x8_0000
    static let inlineData: UInt64 = 0x1000_0000
  }

  /// The 60 bytes of an inode that have a map of blocks, a short symbolic link or the first of inline data.
  static let mapBytes = 0x28..<0x28 + 60

  /// An inode that a directory names.
  func node(_ number: UInt64) throws(FileSystemError) -> Node {
    guard number == root || number >= max(1, layout.firstInode), number <= layout.inodeCount else {
      throw .damaged(.inode(number), "is none of a file: there are \(layout.firstInode) to \(layout.inodeCount)")
    }
    let record = try record(number)
    guard let node = Self.node(number, record, largeDirectories) else {
      throw .damaged(
        .inode(number), "has mode \(String(record.u16(0), radix: 8)) and \(record.u16(0x1A)) links, so it is free")
    }
    return node
  }

  /// The inode as it is stored.
  func record(_ number: UInt64) throws(FileSystemError) -> [UInt8] {
    let (groupNumber, index) = (number - 1).quotientAndRemainder(dividingBy: layout.inodesPerGroup)
    let group = try group(groupNumber)
    let table = try inodeTable(group, groupNumber)
    let start = table.lowerBound + index * layout.inodeSize
    let record = try disk.bytes(at: start, count: Int(layout.inodeSize))
    disk.touch(inodesReadAhead(with: start / blockSize, table, unused: group.unusedInodes))
    return record
  }

  /// What the kernel reads of a table besides the block that it wants: those from a multiple of 32 to the next, also that one, as
  /// far as inodes were ever used (Linux, `__ext4_get_inode_loc`, with the default of `inode_readahead_blks`).
  private func inodesReadAhead(with block: UInt64, _ table: DiskRange, unused: UInt64) -> DiskRange {
    let first = max(block / 32 * 32, table.lowerBound / blockSize)
    let used = (layout.inodesPerGroup - unused) * layout.inodeSize / blockSize
    let last = min(first + 32, table.lowerBound / blockSize + used)
    return first * blockSize..<min(max(first, last + 1) * blockSize, table.upperBound)
  }

  /// A group's whole table of inodes.
  func inodeTable(_ group: Ext4Group, _ number: UInt64) throws(FileSystemError) -> DiskRange {
    let blocks = (layout.inodesPerGroup * layout.inodeSize).dividedUp(by: blockSize)
    return try range(group.inodeTable, blocks, .group(number))
  }

  var largeDirectories: Bool { layout.incompatible & Ext4Superblock.Incompatible.largeDirectories != 0 }

  /// nil for one that is free.
  static func node(_ number: UInt64, _ record: [UInt8], _ largeDirectories: Bool) -> Node? {
    guard let kind = Node.Kind(mode: record.u16(0)), record.u16(0x1A) > 0 else { return nil }
    // What is the upper half of a file's size was something else in directories.
    let isWide = kind == .file || (kind == .directory && largeDirectories)
    let size = record.u32(4) | (isWide ? record.u32(0x6C) << 32 : 0)
    return Node(number: number, kind: kind, size: size, record: record)
  }

  func has(_ flag: UInt64, _ node: Node) -> Bool { node.record.u32(0x20) & flag != 0 }

  /// Bytes of a directory or a symbolic link, from its blocks.
  func stored(_ node: Node, limit: UInt64) throws(FileSystemError) -> [UInt8] {
    guard node.size <= limit else {
      throw .damaged(.inode(node.number), "has \(node.size) bytes; \(limit) are the most")
    }
    var bytes: [UInt8] = []
    try blocks(of: node) { (extent: Ext4Extent) throws(FileSystemError) in
      // A hole is a block that the kernel would not read either.
      if !extent.isWritten { return }
      bytes += try disk.bytes(at: extent.physical * blockSize, count: Int(extent.count * blockSize))
    }
    return bytes
  }

  func target(of link: Node) throws(FileSystemError) -> [UInt8] {
    if has(InodeFlag.encrypted, link) { throw .unsupportedFile("the symbolic link is encrypted") }
    if has(InodeFlag.inlineData, link) { return Array(try inlineData(link).prefix(Int(link.size))) }
    // A short one is in the inode itself.
    if link.size < UInt64(Self.mapBytes.count) { return Array(link.record[Self.mapBytes].prefix(Int(link.size))) }
    return Array(try stored(link, limit: UInt64(FileResolver.pathLimit)).prefix(Int(link.size)))
  }

  func content(of file: Node) throws(FileSystemError) -> [DiskRange] {
    if has(InodeFlag.inlineData, file) { return [] }
    var ranges: [DiskRange] = []
    try blocks(of: file) { (extent: Ext4Extent) throws(FileSystemError) in
      if extent.isWritten { ranges.append(extent.physical * blockSize..<(extent.physical + extent.count) * blockSize) }
    }
    return ranges
  }
}
