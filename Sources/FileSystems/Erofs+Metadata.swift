extension Erofs {
  /// Superblock, inodes, directories, symbolic links, and the maps and indexes of chunks and clusters. There is no table of
  /// inodes, so this walks through the whole tree.
  func metadata(
    into take: (DiskRange) throws(FileSystemError) -> Void,
    problem: (UInt64, FileSystemError) throws(FileSystemError) -> Void
  ) throws(FileSystemError) {
    try take(ErofsSuperblock.offset..<ErofsSuperblock.offset + 128)
    var pending = [root]
    var visited: Set<UInt64> = [root]
    while let number = pending.popLast() {
      do throws(FileSystemError) {
        for entry in try walk(number).reversed() where visited.insert(entry.number).inserted {
          pending.append(entry.number)
        }
      } catch {
        if error.endsAll { throw error }
        try problem(number, error)
      }
      for range in disk.takeTouched() { try take(range) }
    }
  }

  /// Reads all of an inode but a file's content, and returns a directory's entries.
  private func walk(_ number: UInt64) throws(FileSystemError) -> [DirectoryEntry] {
    let node = try node(number)
    switch node.kind {
    case .directory: return try entries(of: node)
    case .link: _ = try target(of: node)
    case .file: _ = try content(of: node)
    case .other: break
    }
    return []
  }
}
