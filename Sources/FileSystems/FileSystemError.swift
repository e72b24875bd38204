/// Why a disk's files, or a layer's table of contents, cannot be resolved.
public enum FileSystemError: Error, Equatable, Sendable {
  /// The bytes cannot be had; in the words of who should have given them.
  case read(String)
  /// Something points behind the end of the disk; in bytes.
  case outside(offset: UInt64, count: Int, size: UInt64)
  /// More steps than a sound file system takes.
  case tooMuchWork

  /// Nothing on the disk that this module knows; with what it looks like, if that is known.
  case noFileSystem(found: String?)
  /// A partition table, and the byte ranges of its partitions.
  case partitioned(table: String, [DiskRange])
  /// The file system uses something that is not read here.
  case unsupported(String)
  /// The file system contradicts itself.
  case damaged(Place, String)

  /// A path has no file.
  case notFound
  /// Something before a path's last slash is no directory.
  case notDirectory
  /// A path's symbolic links go round in circles, or nearly so.
  case tooManyLinks
  /// A path, or a name in it, is longer than Linux allows.
  case tooLong
  /// The path is a directory and does not end with a slash, so that only its own blocks were taken.
  case onlyDirectory
  /// The file is stored in a way that is not read here.
  case unsupportedFile(String)

  /// The list is longer than it may be; in bytes.
  case listTooLong(limit: Int)
  /// The layer has no table of contents; with what was found instead.
  case notStargz(String)
  /// The layer's table of contents is damaged.
  case damagedContents(String)

  /// Where the damage is.
  public enum Place: Equatable, Sendable {
    case superblock
    case group(UInt64)
    case inode(UInt64)
    /// A block of an inode.
    case block(UInt64, inode: UInt64)
  }

  /// Whether no other file can be expected to fare better.
  var endsAll: Bool {
    switch self {
    case .read, .tooMuchWork: true
    default: false
    }
  }
}

extension FileSystemError: CustomStringConvertible {
  /// What was found, and what to do.
  public var description: String {
    switch self {
    case .read(let reason): reason
    case .outside(let offset, let count, let size):
      "\(count) bytes at byte \(offset) are behind the end of the disk, which has \(size); the file system is damaged"
    case .tooMuchWork: "the walk does not end; the file system is damaged, or has more files than can be listed"
    case .noFileSystem, .partitioned, .unsupported: diskDescription
    case .damaged(let place, let problem): "\(place) \(problem); the file system is damaged"
    case .notFound: "there is no such file in the image"
    case .notDirectory: "something before the last slash is no directory"
    case .tooManyLinks: "more than \(FileResolver.linkLimit) symbolic links"
    case .tooLong: "longer than Linux allows (\(FileResolver.pathLimit) bytes, \(FileResolver.nameLimit) a name)"
    case .onlyDirectory: "is a directory; only its own blocks were taken. With a slash at its end, all that is in it is"
    case .unsupportedFile(let reason): "\(reason); this file is left out"
    case .listTooLong(let limit): "the list has more than \(limit) bytes; name directories (/usr/lib/) instead"
    case .notStargz(let found):
      "this is no eStargz layer: \(found). A layer is the .tar.gz as the registry has it"
    case .damagedContents(let problem): "the table of contents \(problem); fetch the layer again"
    }
  }

  private var diskDescription: String {
    switch self {
    case .noFileSystem(let found):
      "files can be found on ext2, ext3, ext4 and EROFS that fill the disk; here is "
        + (found ?? "nothing that is known") + ". Record a trace, or name ranges, instead"
    case .partitioned(let table, let partitions):
      "the disk is partitioned (\(table)): " + list(partitions)
        + ". Files can be found only where a file system fills the disk. Record a trace, or name ranges, instead"
    case .unsupported(let feature): "\(feature), which is not read here. Record a trace instead"
    default: ""
    }
  }

  private func list(_ partitions: [DiskRange]) -> String {
    if partitions.isEmpty { return "no partitions" }
    let first = partitions.prefix(8).map { "bytes \($0.lowerBound) to \($0.upperBound)" }.joined(separator: ", ")
    return first + (partitions.count > 8 ? " and \(partitions.count - 8) more" : "")
  }
}

extension FileSystemError.Place: CustomStringConvertible {
  /// The beginning of a sentence.
  public var description: String {
    switch self {
    case .superblock: "the superblock"
    case .group(let number): "the descriptor of group \(number)"
    case .inode(let number): "inode \(number)"
    case .block(let block, let inode): "block \(block) of inode \(inode)"
    }
  }
}
