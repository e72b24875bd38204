extension Erofs {
  /// How the content of an inode is stored.
  enum DataLayout: Int {
    case plain = 0
    /// Compressed, with an index entry of 8 bytes for each block of content.
    case fullIndex = 1
    /// The last, not full, block of content follows the inode.
    case inline = 2
    /// Compressed, with a packed index.
    case compactIndex = 3
    /// In chunks of equal size, anywhere.
    case chunks = 4
  }

  func node(_ number: UInt64) throws(FileSystemError) -> Node {
    let start = try position(number)
    var record = try disk.bytes(at: start, count: 32)
    let isExtended = record.u16(0) & 1 != 0
    if isExtended { record += try disk.bytes(at: start + 32, count: 32) }
    guard let kind = Node.Kind(mode: record.u16(4)) else {
      throw .damaged(.inode(number), "has mode \(String(record.u16(4), radix: 8))")
    }
    return Node(number: number, kind: kind, size: isExtended ? record.u64(8) : record.u32(8), record: record)
  }

  func layout(of node: Node) throws(FileSystemError) -> DataLayout {
    let number = node.record.u16(0) >> 1 & 7
    guard let layout = DataLayout(rawValue: number) else {
      throw .unsupportedFile("inode \(node.number) has its content in layout \(number) of a later time")
    }
    return layout
  }

  /// Four bytes whose meaning the layout says.
  func union(_ node: Node) -> UInt64 { node.record.u32(16) }

  /// Where the inode and its attributes end, in bytes.
  func end(of node: Node) throws(FileSystemError) -> UInt64 {
    let attributes = UInt64(node.record.u16(2))
    return try position(node.number) + UInt64(node.record.count) + (attributes == 0 ? 0 : 12 + 4 * (attributes - 1))
  }
}
