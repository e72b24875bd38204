/// Blocks of a file that follow each other on the disk.
struct Ext4Extent: Equatable {
  /// Where in the file, in blocks.
  let logical: UInt64
  /// Where on the disk, in blocks.
  let physical: UInt64
  let count: UInt64
  /// Otherwise reserved, and read as zeroes.
  let isWritten: Bool
}

extension Ext4 {
  /// All extents up to the file's size, in the file's order; each lies inside the file system.
  func blocks(of node: Node, _ body: (Ext4Extent) throws(FileSystemError) -> Void) throws(FileSystemError) {
    let map = Array(node.record[Self.mapBytes])
    guard has(InodeFlag.extents, node) else { return try mappedBlocks(of: node, map, body) }
    var walk = ExtentWalk(inode: node.number, blocks: node.size.dividedUp(by: blockSize))
    try extents(in: map, .inode(node.number), depth: nil, through: 1 << 32, &walk, body)
  }

  /// What an extent tree's walk remembers.
  private struct ExtentWalk {
    let inode: UInt64
    /// Of the file.
    let blocks: UInt64
    /// Where the next extent may begin, in the file's blocks: they never go back.
    var next: UInt64 = 0
    var visited: Set<UInt64> = []
  }

  /// One node of the tree: a header of 12 bytes, then entries of 12 bytes. `depth` is what the parent expects.
  private func extents(
    in bytes: [UInt8], _ place: FileSystemError.Place, depth expected: Int?, through end: UInt64,
    _ walk: inout ExtentWalk,
    _ body: (Ext4Extent) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    let (count, depth) = (bytes.u16(2), bytes.u16(6))
    guard bytes.u16(0) == 0xF30A else { throw .damaged(place, "is no node of an extent tree") }
    guard depth == expected ?? depth, depth <= 5 else {
      throw .damaged(
        place, "is \(depth) levels above the extents, and should be \(expected.map { "\($0)" } ?? "5 at most")")
    }
    guard count <= bytes.count / 12 - 1 else { throw .damaged(place, "has \(count) entries, more than fit") }
    for entry in 1..<count + 1 where walk.next < walk.blocks {
      try disk.work(1)
      if depth == 0 {
        try extent(bytes, entry * 12, place, through: end, &walk, body)
      } else {
        let next = entry < count ? bytes.u32(entry * 12 + 12) : end
        try child(bytes, entry * 12, place, depth: depth - 1, through: min(end, next), &walk, body)
      }
    }
  }

  private func child(
    _ bytes: [UInt8], _ offset: Int, _ place: FileSystemError.Place, depth: Int, through end: UInt64,
    _ walk: inout ExtentWalk,
    _ body: (Ext4Extent) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    let first = bytes.u32(offset)
    guard first >= walk.next, first < end else {
      throw .damaged(
        place, "has a branch from block \(first) of the file on, where \(walk.next) to \(end) are possible")
    }
    let block = bytes.u32(offset + 4) | UInt64(bytes.u16(offset + 8)) << 32
    guard walk.visited.insert(block).inserted else {
      throw .damaged(place, "leads to block \(block) for the second time")
    }
    walk.next = first
    let start = try range(block, 1, place).lowerBound
    let node = try disk.bytes(at: start, count: Int(blockSize))
    try extents(in: node, .block(block, inode: walk.inode), depth: depth, through: end, &walk, body)
  }

  private func extent(
    _ bytes: [UInt8], _ offset: Int, _ place: FileSystemError.Place, through end: UInt64, _ walk: inout ExtentWalk,
    _ body: (Ext4Extent) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    let logical = bytes.u32(offset)
    // Longer ones are not written yet, and 32768 shorter than they say.
    let length = bytes.u16(offset + 4)
    let count = UInt64(length > 0x8000 ? length - 0x8000 : length)
    guard count > 0, logical >= walk.next, logical + count <= end else {
      throw .damaged(
        place, "has an extent of blocks \(logical) + \(count) of the file, where \(walk.next) to \(end) are possible")
    }
    let physical = bytes.u32(offset + 8) | UInt64(bytes.u16(offset + 6)) << 32
    _ = try range(physical, count, place)
    walk.next = logical + count
    guard logical < walk.blocks else { return }
    let used = min(count, walk.blocks - logical)
    try body(Ext4Extent(logical: logical, physical: physical, count: used, isWritten: length <= 0x8000))
  }
}
