extension Ext4 {
  /// Some millions of entries, in bytes.
  private static let directoryLimit: UInt64 = 128 << 20

  /// Directories are read from front to back, also those with a hash tree: its nodes look like empty entries.
  func entries(of directory: Node) throws(FileSystemError) -> [DirectoryEntry] {
    // The names are encrypted, too.
    if has(InodeFlag.encrypted, directory) { throw .unsupportedFile("the directory is encrypted") }
    var entries: [DirectoryEntry] = []
    if has(InodeFlag.inlineData, directory) {
      let parts = try inlineParts(directory)
      // The first four bytes are the parent's number; `.` and `..` have no entries.
      try addEntries(Array(parts.head.dropFirst(4)), .inode(directory.number), to: &entries)
      try addEntries(parts.rest, .inode(directory.number), to: &entries)
      return entries
    }
    let bytes = try stored(directory, limit: Self.directoryLimit)
    for start in stride(from: 0, to: bytes.count, by: Int(blockSize)) {
      let place = FileSystemError.Place.inode(directory.number)
      try addEntries(Array(bytes[start..<start + Int(blockSize)]), place, to: &entries)
    }
    return entries
  }

  /// A block of entries, which fill it: inode, length of the entry, length of the name, type, name.
  private func addEntries(
    _ bytes: [UInt8], _ place: FileSystemError.Place, to entries: inout [DirectoryEntry]
  ) throws(FileSystemError) {
    var offset = 0
    while offset < bytes.count {
      try disk.work(1)
      guard bytes.count - offset >= 8 else {
        throw .damaged(place, "has \(bytes.count - offset) bytes at the end of a block")
      }
      let length = entryLength(bytes.u16(offset + 4))
      // Without a type the length of the name has two bytes, the upper of which is 0.
      let nameLength = Int(bytes[offset + 6])
      guard length >= 8 + nameLength, length % 4 == 0, length <= bytes.count - offset else {
        throw .damaged(
          place,
          "has a directory entry of \(length) bytes with a name of \(nameLength), \(bytes.count - offset) before the end of a block"
        )
      }
      let number = bytes.u32(offset)
      let name = Array(bytes[offset + 8..<offset + 8 + nameLength])
      offset += length
      if number == 0 || name.isEmpty || name == [0x2E] || name == [0x2E, 0x2E] { continue }
      entries.append(DirectoryEntry(name: name, number: number))
    }
  }

  /// Blocks of 64 KiB need 17 bits.
  private func entryLength(_ stored: Int) -> Int {
    blockSize == 65536 && (stored == 0 || stored == 0xFFFF) ? 65536 : stored
  }
}
