extension Erofs {
  func content(of file: Node) throws(FileSystemError) -> [DiskRange] {
    if file.size == 0 { return [] }
    switch try layout(of: file) {
    case .plain, .inline: return try flat(file).filter { !$0.isEmpty }
    case .chunks: return try chunks(of: file)
    case .fullIndex, .compactIndex: return try clusters(of: file)
    }
  }

  /// Whole blocks that follow each other, then the bytes that follow the inode.
  private func flat(_ node: Node) throws(FileSystemError) -> [DiskRange] {
    let isInline = try layout(of: node) == .inline
    let blocks = isInline ? (node.size - 1) >> layout.blockBits : node.size.dividedUp(by: blockSize)
    var ranges: [DiskRange] = []
    if blocks > 0 { ranges.append(try range(union(node), blocks, node.number)) }
    if isInline {
      let start = try end(of: node)
      let count = node.size - blocks << layout.blockBits
      guard start % blockSize + count <= blockSize, start <= disk.size, count <= disk.size - start else {
        throw .damaged(.inode(node.number), "is followed by \(count) bytes of content that do not fit in its block")
      }
      ranges.append(start..<start + count)
    }
    return ranges
  }

  /// A map of the chunks follows the inode: 4 bytes each, or 8 that begin with the number of a device.
  private func chunks(of file: Node) throws(FileSystemError) -> [DiskRange] {
    let format = union(file)
    let chunkBits = layout.blockBits + format & 31
    let isIndexed = format & 0x20 != 0
    if format & 0xFFC0 != 0 { throw .unsupportedFile("its chunks are stored in a way of a later time") }
    let unit: UInt64 = isIndexed ? 8 : 4
    let count = (file.size - 1) >> chunkBits + 1
    let start = try end(of: file).dividedUp(by: unit) * unit
    guard start <= disk.size, count <= (disk.size - start) / unit else {
      throw .damaged(.inode(file.number), "has \(file.size) bytes, and no room for a map of \(count) chunks")
    }
    let fileBlocks = file.size.dividedUp(by: blockSize)
    var ranges: [DiskRange] = []
    for chunk in 0..<count {
      let entry = try disk.bytes(at: start + chunk * unit, count: Int(unit))
      let block = entry.u32(isIndexed ? 4 : 0)
      if block == 0xFFFF_FFFF { continue }
      if isIndexed, entry.u16(2) != 0 { throw .unsupportedFile("its content is on another device, \(entry.u16(2))") }
      let first = chunk << (chunkBits - layout.blockBits)
      let blocks = min(1 << (chunkBits - layout.blockBits), fileBlocks - first)
      ranges.append(try range(block, blocks, file.number))
    }
    return ranges
  }

  /// Bytes of a directory or a symbolic link.
  func stored(_ node: Node, limit: UInt64) throws(FileSystemError) -> [UInt8] {
    guard node.size <= limit else {
      throw .damaged(.inode(node.number), "has \(node.size) bytes; \(limit) are the most")
    }
    if node.size == 0 { return [] }
    let kind = try layout(of: node)
    guard kind == .plain || kind == .inline else {
      throw .unsupportedFile("inode \(node.number), no file, is compressed or in chunks")
    }
    var bytes: [UInt8] = []
    for range in try flat(node) { bytes += try disk.bytes(at: range.lowerBound, count: range.count) }
    return Array(bytes.prefix(Int(node.size)))
  }

  func target(of link: Node) throws(FileSystemError) -> [UInt8] {
    try stored(link, limit: UInt64(FileResolver.pathLimit))
  }
}
