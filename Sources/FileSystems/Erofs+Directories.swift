extension Erofs {
  /// Some millions of entries, in bytes.
  private static let directoryLimit: UInt64 = 128 << 20

  func entries(of directory: Node) throws(FileSystemError) -> [DirectoryEntry] {
    let bytes = try stored(directory, limit: Self.directoryLimit)
    var entries: [DirectoryEntry] = []
    for start in stride(from: 0, to: bytes.count, by: Int(blockSize)) {
      let block = Array(bytes[start..<min(bytes.count, start + Int(blockSize))])
      try addEntries(block, directory.number, to: &entries)
    }
    return entries
  }

  /// A block: entries of 12 bytes that say where their names begin, then the names. The first name says how many entries there are.
  private func addEntries(
    _ bytes: [UInt8], _ inode: UInt64, to entries: inout [DirectoryEntry]
  ) throws(FileSystemError) {
    guard bytes.count >= 12 else { throw .damaged(.inode(inode), "has a directory block of \(bytes.count) bytes") }
    let names = bytes.u16(8)
    guard names >= 12, names % 12 == 0, names <= bytes.count else {
      throw .damaged(.inode(inode), "has a directory block whose names begin at byte \(names)")
    }
    for offset in stride(from: 0, to: names, by: 12) {
      try disk.work(1)
      let start = bytes.u16(offset + 8)
      let end = offset + 12 < names ? bytes.u16(offset + 20) : bytes.count
      guard start >= names, start <= end, end <= bytes.count else {
        throw .damaged(.inode(inode), "has a directory entry whose name is at bytes \(start) to \(end) of its block")
      }
      // The last name ends with a zero if the block does not end with it.
      let name = Array(bytes[start..<end].prefix { $0 != 0 })
      if name.isEmpty || name == [0x2E] || name == [0x2E, 0x2E] { continue }
      entries.append(DirectoryEntry(name: name, number: bytes.u64(offset)))
    }
  }
}
