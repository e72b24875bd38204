/// Names of the directories that were read lately, so that a list of many files of one directory reads it once.
struct DirectoryMemory {
  private var directories: [UInt64: [[UInt8]: UInt64]] = [:]
  private var count = 0
  /// Names of all; one directory alone may have more.
  private static let limit = 300_000

  /// Name to inode; nil for a directory that is not remembered.
  func names(of directory: UInt64) -> [[UInt8]: UInt64]? { directories[directory] }

  mutating func remember(_ directory: UInt64, _ entries: [DirectoryEntry]) {
    if directories[directory] != nil { return }
    if count + entries.count > Self.limit {
      directories.removeAll()
      count = 0
    }
    // A name that is there twice means its first inode, as in a search.
    directories[directory] = Dictionary(entries.map { ($0.name, $0.number) }) { first, _ in first }
    count += entries.count
  }
}
