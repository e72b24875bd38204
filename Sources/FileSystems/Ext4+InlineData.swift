extension Ext4 {
  /// What is stored in the inode itself: 60 bytes in place of the map, and the rest as an extended attribute.
  func inlineData(_ node: Node) throws(FileSystemError) -> [UInt8] {
    let parts = try inlineParts(node)
    return parts.head + parts.rest
  }

  func inlineParts(_ node: Node) throws(FileSystemError) -> (head: [UInt8], rest: [UInt8]) {
    (Array(node.record[Self.mapBytes]), try dataAttribute(node))
  }

  /// The attribute `system.data` among those between the inode's fields and its end; empty when it is not there.
  private func dataAttribute(_ node: Node) throws(FileSystemError) -> [UInt8] {
    let record = node.record
    guard record.count > 128 + 4 else { return [] }
    let start = 128 + record.u16(0x80)
    guard start % 4 == 0, start + 4 <= record.count else {
      throw .damaged(.inode(node.number), "has \(start - 128) bytes of fields behind the first 128")
    }
    guard record.u32(start) == 0xEA02_0000 else { return [] }
    let first = start + 4
    var offset = first
    while offset + 16 <= record.count, record.u32(offset) != 0 {
      let nameLength = Int(record[offset])
      guard offset + 16 + nameLength <= record.count else { break }
      let name = record[offset + 16..<offset + 16 + nameLength]
      if record[offset + 1] == 7, name.elementsEqual("data".utf8) {
        return try value(node, at: first + record.u16(offset + 2), count: record.u32(offset + 8))
      }
      offset += (16 + nameLength + 3) / 4 * 4
    }
    return []
  }

  private func value(_ node: Node, at offset: Int, count: UInt64) throws(FileSystemError) -> [UInt8] {
    guard offset <= node.record.count, count <= UInt64(node.record.count - offset) else {
      throw .damaged(.inode(node.number), "has \(count) bytes of data at its byte \(offset)")
    }
    return Array(node.record[offset..<offset + Int(count)])
  }
}
