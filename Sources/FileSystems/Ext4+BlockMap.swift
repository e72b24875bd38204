extension Ext4 {
  /// The map of ext2 and ext3: 12 blocks, then a block of block numbers, a block of such blocks, and one of those.
  func mappedBlocks(
    of node: Node, _ map: [UInt8], _ body: (Ext4Extent) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    var walk = MapWalk(inode: node.number, blocks: node.size.dividedUp(by: blockSize))
    try numbers(map, 0..<12, level: 0, .inode(node.number), &walk, body)
    for level in 1...3 where walk.next < walk.blocks {
      try numbers(map, 11 + level..<12 + level, level: level, .inode(node.number), &walk, body)
    }
    if let last = walk.run { try body(last) }
    // Blocks that no map has room for.
    guard walk.next >= walk.blocks else {
      throw .damaged(.inode(node.number), "has \(node.size) bytes, more than its map of blocks can have")
    }
  }

  private struct MapWalk {
    let inode: UInt64
    /// Of the file.
    let blocks: UInt64
    /// The block of the file that the next number is for.
    var next: UInt64 = 0
    /// Not told yet, because it may become longer.
    var run: Ext4Extent?
    var visited: Set<UInt64> = []
  }

  /// `level` 0: numbers of the file's blocks; above: of blocks of numbers of the level below. 0 is a hole.
  private func numbers(
    _ bytes: [UInt8], _ indices: Range<Int>, level: Int, _ place: FileSystemError.Place, _ walk: inout MapWalk,
    _ body: (Ext4Extent) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    let perBlock = blockSize / 4
    let span = (0..<level).reduce(UInt64(1)) { span, _ in span * perBlock }
    for index in indices where walk.next < walk.blocks {
      try disk.work(1)
      let block = bytes.u32(index * 4)
      if block == 0 {
        walk.next += span
        continue
      }
      let start = try range(block, 1, place).lowerBound
      if level == 0 {
        try add(block, &walk, body)
        continue
      }
      guard walk.visited.insert(block).inserted else {
        throw .damaged(place, "leads to block \(block) for the second time")
      }
      let node = try disk.bytes(at: start, count: Int(blockSize))
      try numbers(node, 0..<Int(perBlock), level: level - 1, .block(block, inode: walk.inode), &walk, body)
    }
  }

  private func add(
    _ block: UInt64, _ walk: inout MapWalk, _ body: (Ext4Extent) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    defer { walk.next += 1 }
    var start = (logical: walk.next, physical: block, count: UInt64(1))
    if let run = walk.run {
      if run.logical + run.count == walk.next, run.physical + run.count == block {
        start = (run.logical, run.physical, run.count + 1)
      } else {
        try body(run)
      }
    }
    walk.run = Ext4Extent(logical: start.logical, physical: start.physical, count: start.count, isWritten: true)
  }
}
