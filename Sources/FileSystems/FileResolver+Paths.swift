extension FileResolver {
  private static let slash = UInt8(ascii: "/")

  /// The inode that a path leads to, as the kernel would walk with the image's root as its own; symbolic links are followed, the last one too.
  func find(_ path: [UInt8]) throws(FileSystemError) -> Node {
    guard path.count < Self.pathLimit, !path.contains(0) else { throw .tooLong }
    var rest = try Self.names(path)
    // From the root to where the walk is.
    var way = [try system.node(system.root)]
    var links = 0
    while let name = rest.popLast() {
      guard let directory = way.last, directory.kind == .directory else { throw .notDirectory }
      if name == [0x2E] { continue }
      if name == [0x2E, 0x2E] {
        if way.count > 1 { way.removeLast() }
        continue
      }
      guard let number = try lookup(name, in: directory) else { throw .notFound }
      let node = try system.node(number)
      guard node.kind == .link else {
        way.append(node)
        continue
      }
      links += 1
      guard links <= Self.linkLimit else { throw .tooManyLinks }
      let target = try system.target(of: node)
      guard target.count < Self.pathLimit, let first = target.first else { throw .tooLong }
      if first == Self.slash { way.removeLast(way.count - 1) }
      rest += try Self.names(target)
    }
    return way[way.count - 1]
  }

  /// The names between the slashes, the last one first. A slash at the end asks for a directory, as `.` behind it would.
  private static func names(_ path: [UInt8]) throws(FileSystemError) -> [[UInt8]] {
    var names = path.split(separator: slash).map { Array($0) }
    guard names.allSatisfy({ $0.count <= nameLimit }) else { throw .tooLong }
    if path.last == slash { names.append([0x2E]) }
    return names.reversed()
  }

  private func lookup(_ name: [UInt8], in directory: Node) throws(FileSystemError) -> UInt64? {
    if let names = directories.names(of: directory.number) { return names[name] }
    _ = try entries(of: directory)
    return directories.names(of: directory.number)?[name]
  }

  /// Takes a directory and all below it, in the order in which reading it would show it. Symbolic links are taken, not followed.
  func addTree(_ root: Node, _ entry: FileList.Entry) throws(FileSystemError) {
    var path = entry.target
    while path.last == Self.slash { path.removeLast() }
    var pending = [(number: root.number, folder: path, name: [UInt8]())]
    var visited: Set<UInt64> = []
    while let (number, folder, name) = pending.popLast() {
      let path = name.isEmpty ? folder : folder + [Self.slash] + name
      do throws(FileSystemError) {
        try disk.work(1)
        let node = try system.node(number)
        guard node.kind == .directory else {
          try add(node)
          continue
        }
        guard visited.insert(number).inserted else {
          throw .damaged(.inode(number), "is in its tree of directories twice")
        }
        result.directories += 1
        for entry in try entries(of: node).reversed() { pending.append((entry.number, path, entry.name)) }
      } catch {
        if error.endsAll { throw error }
        result.report(error, path, line: entry.line)
      }
    }
  }
}
