/// What a list of files came to.
public struct Resolution: Sendable {
  /// Where it is stored, as byte ranges of the disk in the order in which it was named; no byte twice.
  public internal(set) var ranges: [DiskRange] = []
  /// Bytes of content among these.
  public internal(set) var contentBytes: UInt64 = 0
  /// Bytes of inodes, directories, and what else leads to content.
  public internal(set) var metadataBytes: UInt64 = 0
  /// Entries of lists that led somewhere.
  public internal(set) var entriesFound = 0
  /// Files whose content is taken.
  public internal(set) var files = 0
  /// Directories that were walked through.
  public internal(set) var directories = 0
  /// What could not be taken, and what was taken in another way than the list may have meant; the first of many.
  public internal(set) var problems: [Problem] = []
  /// All of these.
  public internal(set) var problemCount = 0

  /// How many problems are kept.
  static let problemLimit = 1000

  /// A path, or an inode, that was not taken.
  public struct Problem: Equatable, Sendable, CustomStringConvertible {
    /// Of the list, if it is from one.
    public let line: Int?
    /// Which; empty for a part of the file system's own data.
    public let path: [UInt8]
    /// Why.
    public let error: FileSystemError

    /// One line.
    public var description: String {
      let place = line.map { "line \($0): " } ?? ""
      return "\(place)\(path.isEmpty ? "" : FileList.shown(path) + ": ")\(error)\(hint)"
    }

    /// What the eye does not see.
    private var hint: String {
      guard error == .notFound, let last = path.last, [0x09, 0x0D, 0x20].contains(last) else { return "" }
      return "; the path ends with \(last == 0x0D ? "a carriage return" : "a space"), which is taken as a part of it"
    }
  }

  mutating func report(_ error: FileSystemError, _ path: [UInt8], line: Int?) {
    problemCount += 1
    if problems.count < Self.problemLimit { problems.append(Problem(line: line, path: path, error: error)) }
  }
}
