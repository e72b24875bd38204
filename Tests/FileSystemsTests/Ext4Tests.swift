import Posix
import Testing
import TestSupport

@testable import FileSystems

@Suite struct Ext4Tests {
  /// Options of mke2fs.
  static let kinds: [[String]] = [
    ["-t", "ext4", "-b", "4096"], ["-t", "ext2", "-b", "4096"], ["-t", "ext3", "-b", "2048"],
    ["-t", "ext4", "-b", "1024"],
    ["-t", "ext2", "-b", "1024"], ["-t", "ext2", "-r", "0"],
    ["-t", "ext4", "-b", "4096", "-O", "inline_data", "-I", "256"],
    ["-t", "ext4", "-O", "^64bit,^metadata_csum"], ["-t", "ext4", "-O", "inline_data", "-I", "1024"],
    ["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode", "-g", "512"],
    ["-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^64bit,^sparse_super", "-g", "256"],
    ["-t", "ext4", "-O", "bigalloc", "-b", "4096", "-C", "16384"], ["-t", "ext4", "-b", "1024", "-O", "bigalloc"],
    ["-t", "ext4", "-O", "sparse_super2,^flex_bg", "-g", "1024"],
    ["-t", "ext4", "-b", "4096", "-O", "casefold,large_dir,ea_inode,mmp"],
    ["-t", "ext4", "-b", "1024", "-O", "^filetype,^dir_index", "-I", "128"],
    ["-t", "ext4", "-b", "65536", "-N", "3000"],
  ]

  @Test("blocks of every file are those that debugfs names, and have the file's content", arguments: kinds)
  func content(options: [String]) throws {
    let tree = try Tree()
    let image = try tree.ext(options, size: options.contains("65536") ? "200M" : "40M")
    try compare(image, tree, tree.files)
  }

  /// Compares all `paths`, and returns the most extents that one had.
  @discardableResult
  private func compare(_ image: String, _ tree: Tree, _ paths: [String]) throws -> Int {
    let resolver = try FileResolver(try Disk.file(image))
    let system = try #require(resolver.system as? Ext4)
    let judged = try Debugfs(image: image, scratch: tree.scratch).blocks(paths)
    try #require(judged.count == paths.count)
    let bytes = try Descriptor.open(image)
    var most = 0
    for (path, judgement) in zip(paths, judged) {
      let node = try resolver.find(Array(path.utf8))
      var data: [[UInt64]] = []
      var extents = 0
      let source = try tree.source(path)
      var content = [UInt8](repeating: 0, count: source.count)
      // mke2fs itself forgets a hole at the end when there is inline data.
      #expect(node.size == judgement.size, "\(path)")
      if system.has(Ext4.InodeFlag.inlineData, node) {
        content = Array(try system.inlineData(node).prefix(source.count))
        #expect(try system.content(of: node).isEmpty, "\(path)")
      } else {
        try system.blocks(of: node) { (extent: Ext4Extent) throws(FileSystemError) in
          extents += 1
          guard extent.isWritten else { return }
          data += (0..<extent.count).map { [extent.logical + $0, extent.physical + $0] }
          let start = Int(extent.logical * system.blockSize)
          let end = min(content.count, start + Int(extent.count * system.blockSize))
          content.withUnsafeMutableBytes {
            let part = UnsafeMutableRawBufferPointer(rebasing: $0[start..<end])
            _ = try? bytes.readFully(into: part, at: extent.physical * system.blockSize)
          }
        }
        expectSame(data, judgement.data, path)
      }
      expectSame(content, source, path)
      most = max(most, extents)
      // The blocks of the map are those that were read on the way.
      let single = try FileResolver(try Disk.file(image))
      try single.add(path)
      let blocks = judgement.map.map { $0 * system.blockSize..<($0 + 1) * system.blockSize }
      let taken = single.resolution.ranges.inOrder
      #expect(blocks.allSatisfy { taken.covers($0) }, "\(path)")
      #expect(single.resolution.problems.isEmpty && taken.total >= data.total(system.blockSize), "\(path)")
    }
    return most
  }

  @Test("a file of many pieces, holes and reserved blocks, three levels deep", arguments: ["ext4", "ext2"])
  func fragmented(kind: String) throws {
    let tree = try Tree()
    let image = try tree.ext(["-t", kind, "-b", "1024"])
    let debugfs = Debugfs(image: image, scratch: tree.scratch)
    let big = [UInt8](repeating: 0x61, count: 3000 * 1024)
    try tree.scratch.write("tree/big", big)
    var requests = ["write \(tree.folder)/big big"]
    for block in stride(from: 1, to: 2999, by: 2) { requests.append("punch big \(block) \(block)") }
    if kind == "ext4" { requests += ["fallocate big 101 131", "fallocate big 2001 2001"] }
    _ = try debugfs.run(requests, writing: true)
    _ = try debugfs.run(["dump big \(tree.folder)/big"])
    let extents = try compare(image, tree, ["/big", "/numbers"])
    // Of an ext2 it punches other blocks than it was told.
    #expect(extents >= (kind == "ext4" ? 1500 : 200))
    if kind == "ext4" { #expect(try debugfs.run(["dump_extents -n big"]).contains(" 1/ 2 ")) }
  }

  @Test("metadata is what dumpe2fs and debugfs name", arguments: [kinds[0], kinds[4], kinds[7], kinds[9]])
  func metadata(options: [String]) throws {
    let tree = try Tree()
    let image = try tree.ext(options)
    let resolver = try FileResolver(try Disk.file(image))
    try resolver.addMetadata()
    let resolution = resolver.resolution
    let blockSize = resolver.system.blockSize
    #expect(resolution.problemCount == 0 && resolution.contentBytes == 0)
    #expect(resolution.ranges.total == resolution.metadataBytes)
    let taken = resolution.ranges.inOrder
    func expect(_ block: UInt64, _ what: String) {
      let isTaken = taken.covers(block * blockSize..<(block + 1) * blockSize)
      #expect(isTaken, "\(what): block \(block)")
    }
    let text = String(decoding: try runProgram(["dumpe2fs", image]), as: UTF8.self)
    var known: UInt64 = 0
    for match in text.matches(
      of:
        /(Primary superblock|Primary superblock at \d+, Group descriptors|Block bitmap|Inode bitmap|Inode table) at (\d+)(?:-(\d+))?/
    ) {
      let (first, last) = (UInt64(match.2)!, match.3.map { UInt64($0)! } ?? UInt64(match.2)!)
      known += last - first + 1
      // The table's end was perhaps never used, nor a bitmap of a group without files.
      let mustBeThere = !options.contains("ext4") || !match.1.hasSuffix("bitmap") && match.1 != "Inode table"
      if mustBeThere { for block in first...last { expect(block, String(match.1)) } }
    }
    let directories = try runProgram(["find", tree.folder, "-type", "d", "-printf", "/%P\\n"])
      .split(separator: 0x0A).map { String(decoding: $0, as: UTF8.self) }
    let debugfs = Debugfs(image: image, scratch: tree.scratch)
    for (path, blocks) in zip(directories, try debugfs.blocks(directories)) {
      for pair in blocks.data { expect(pair[1], path) }
      known += UInt64(blocks.data.count + blocks.map.count)
    }
    for (path, blocks) in zip(tree.files, try debugfs.blocks(tree.files)) {
      for block in blocks.map { expect(block, path) }
      known += UInt64(blocks.map.count)
    }
    let inodes = try debugfs.run(tree.files.map { "imap \"\($0)\"" })
    let places = inodes.matches(of: /located at block (\d+)/)
    #expect(places.count == tree.files.count)
    for place in places { expect(UInt64(place.1)!, "an inode") }
    // Besides these only long symbolic links, lost+found and the journal's first block.
    #expect(resolution.ranges.total <= (known + 30) * blockSize, "\(resolution.ranges.total / blockSize) of \(known)")
  }
}

extension [[UInt64]] {
  func total(_ blockSize: UInt64) -> UInt64 { UInt64(count) * blockSize }
}
