/// What the walk over paths asks of a file system. Nothing is remembered between calls but what ``Disk`` remembers.
protocol FileSystem: AnyObject {
  /// As people call it, with the size of its blocks.
  var name: String { get }
  /// Bytes; what is read of the disk is read in these.
  var blockSize: UInt64 { get }
  /// The number of the root directory's inode.
  var root: UInt64 { get }

  func node(_ number: UInt64) throws(FileSystemError) -> Node

  /// All entries but `.` and `..`, in the directory's order.
  func entries(of directory: Node) throws(FileSystemError) -> [DirectoryEntry]

  /// Where a symbolic link leads.
  func target(of link: Node) throws(FileSystemError) -> [UInt8]

  /// Where a file's bytes are stored, in the file's order, in whole blocks; nothing for holes and for what is stored in the inode.
  func content(of file: Node) throws(FileSystemError) -> [DiskRange]

  /// What is not the content of files, in the order in which a mount and a walk want it.
  /// `problem` is told of an inode that is damaged or not read here; it throws to end the walk.
  func metadata(
    into take: (DiskRange) throws(FileSystemError) -> Void,
    problem: (UInt64, FileSystemError) throws(FileSystemError) -> Void
  ) throws(FileSystemError)
}

/// An inode.
struct Node {
  enum Kind: Equatable {
    case file, directory, link
    /// A device, a pipe, a socket.
    case other

    /// From the mode's upper four bits, which all Unix file systems share; nil for what no mode has.
    init?(mode: Int) {
      switch mode >> 12 {
      case 8: self = .file
      case 4: self = .directory
      case 10: self = .link
      case 1, 2, 6, 12: self = .other
      default: return nil
      }
    }
  }

  let number: UInt64
  let kind: Kind
  /// Bytes of content.
  let size: UInt64
  /// As it is stored.
  let record: [UInt8]
}

/// A name in a directory.
struct DirectoryEntry {
  let name: [UInt8]
  /// The inode.
  let number: UInt64
}
