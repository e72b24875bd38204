/// Finds out where the files of a disk are stored, without mounting it. Reads what leads to the files (inodes, directories, maps of
/// blocks), never their content.
public final class FileResolver {
  /// Symbolic links on the way to one file, as in Linux.
  static let linkLimit = 40
  /// Bytes of a path, and of a name in it, as in Linux.
  static let pathLimit = 4096
  static let nameLimit = 255

  let disk: Disk
  let system: any FileSystem
  /// Whether what is read on the way is taken too.
  private let withWalk: Bool
  private var list: RangeList
  var result = Resolution()
  /// Files whose content was taken, by inode: one that has several names is taken once.
  private var taken: Set<UInt64> = []
  var directories = DirectoryMemory()

  /// The file system, in words.
  public var fileSystem: String { system.name }

  /// Opens the file system that fills `disk`.
  ///
  /// - Parameter withWalk: whether inodes, directories and maps that are read on the way to a file are taken before it.
  /// - Throws: `noFileSystem`, `partitioned`, `unsupported`, `damaged`, `read`.
  public init(_ disk: Disk, withWalk: Bool = true) throws(FileSystemError) {
    self.disk = disk
    self.withWalk = withWalk
    system = try FileSystemDetection.open(disk)
    list = RangeList(blockSize: system.blockSize, diskSize: disk.size)
  }

  /// All that was taken until now.
  public var resolution: Resolution {
    var resolution = result
    resolution.ranges = list.ranges
    return resolution
  }

  /// Takes all of the file system that is not the content of files.
  ///
  /// - Throws: `read`, `tooMuchWork`; `damaged` where the file system's own tables are.
  public func addMetadata() throws(FileSystemError) {
    _ = disk.takeTouched()
    try system.metadata { (range: DiskRange) throws(FileSystemError) in
      result.metadataBytes += try list.add(range, disk)
    } problem: { inode, error in
      result.report(error, [], line: nil)
    }
    _ = disk.takeTouched()
  }

  /// Takes what an entry of a list names. What cannot be taken is a problem of the resolution.
  ///
  /// - Throws: `read`, `tooMuchWork`, after which nothing more can be expected.
  public func add(_ entry: FileList.Entry) throws(FileSystemError) {
    do throws(FileSystemError) {
      let node = try find(entry.target)
      if entry.isTree, node.kind == .directory {
        try addTree(node, entry)
      } else if entry.isTree {
        throw .notDirectory
      } else {
        try add(node)
        if node.kind == .directory { result.report(.onlyDirectory, entry.path, line: entry.line) }
      }
      result.entriesFound += 1
    } catch {
      if error.endsAll { throw error }
      result.report(error, entry.path, line: entry.line)
    }
    try takeWalk()
  }

  /// Takes an inode's content. A directory's is its entries, a symbolic link's is where it leads.
  func add(_ node: Node) throws(FileSystemError) {
    switch node.kind {
    case .file: try addContent(of: node)
    case .directory: _ = try entries(of: node)
    case .link: _ = try system.target(of: node)
    case .other: break
    }
  }

  private func addContent(of file: Node) throws(FileSystemError) {
    guard taken.insert(file.number).inserted else { return }
    let ranges = try system.content(of: file)
    try takeWalk()
    for range in ranges { result.contentBytes += try list.add(range, disk) }
    result.files += 1
  }

  /// Takes what was read since the last time, or forgets it.
  func takeWalk() throws(FileSystemError) {
    for range in disk.takeTouched() where withWalk { result.metadataBytes += try list.add(range, disk) }
  }

  func entries(of directory: Node) throws(FileSystemError) -> [DirectoryEntry] {
    let entries = try system.entries(of: directory)
    directories.remember(directory.number, entries)
    return entries
  }
}
