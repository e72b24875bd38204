import Testing
import TestSupport

@testable import FileSystems

@Suite struct PathTests {
  /// One image of each file system, and what it was made of.
  private func resolvers() throws -> [(FileResolver, Tree)] {
    let tree = try Tree()
    return [
      (try FileResolver(try Disk.file(try tree.ext(["-t", "ext4", "-b", "4096"], name: "ext4"))), tree),
      (try FileResolver(try Disk.file(try tree.ext(["-t", "ext4", "-O", "inline_data"], name: "inline"))), tree),
      (try FileResolver(try Disk.file(try tree.erofs([], name: "erofs"))), tree),
    ]
  }

  private func error(_ resolver: FileResolver, _ path: String) -> FileSystemError? {
    do throws(FileSystemError) { _ = try resolver.find(Array(path.utf8)) } catch { return error }
    return nil
  }

  @Test("symbolic links, dots and slashes lead where the kernel would go")
  func paths() throws {
    for (resolver, _) in try resolvers() {
      func number(_ path: String) throws -> UInt64 { try resolver.find(Array(path.utf8)).number }
      let numbers = try number("/numbers")
      for path in [
        "numbers", "//numbers", "/./a/../numbers", "/../../numbers", "/a/second", "/long", "/many/../a/second",
      ] {
        #expect(try number(path) == numbers, "\(path)")
      }
      #expect(try number("/short") == number("/a/one"))
      #expect(try number("/a/b/up") == number("/a/b/c/more"))
      #expect(try number("/absolute/block") == number("/a/b/c/block"))
      #expect(try number("/absolute/") == number("/a/b/c"))
      #expect(try number("/absolute/..") == number("/a/b"))
      #expect(try number("/") == resolver.system.root && number("") == resolver.system.root)
      #expect(error(resolver, "/loop") == .tooManyLinks)
      for path in ["/a/dangling", "/longer", "/none", "/a/none/one", "/NUMBERS"] {
        #expect(error(resolver, path) == .notFound, "\(path)")
      }
      for path in ["/numbers/", "/numbers/x", "/short/.", "/pipe/.."] {
        #expect(error(resolver, path) == .notDirectory, "\(path)")
      }
      for path in ["/" + String(repeating: "x", count: 256), String(repeating: "/x", count: 2048), "/a\0b"] {
        #expect(error(resolver, path) == .tooLong)
      }
    }
  }

  @Test("a tree is all of its files, once, in the directory's order")
  func trees() throws {
    for (resolver, tree) in try resolvers() {
      try resolver.add("/many/*")
      #expect(resolver.resolution.files == 700 && resolver.resolution.directories == 1)
      try resolver.add("/many/")
      try resolver.add("/many/a_rather_long_name_of_file_9")
      #expect(resolver.resolution.files == 700)
      try resolver.add("/")
      let resolution = resolver.resolution
      // One has two names.
      #expect(resolution.files == tree.files.count - 1 && resolution.problemCount == 0, "\(resolution.problems)")
      let sorted = resolution.ranges.sorted { $0.lowerBound < $1.lowerBound }
      #expect(zip(sorted, sorted.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound })
      #expect(sorted.total == resolution.contentBytes + resolution.metadataBytes)
      for path in tree.files {
        #expect(try resolver.content(path).allSatisfy { sorted.joined.covers($0) }, "\(path)")
      }
    }
  }

  @Test("what is not there is reported with its line and passed over")
  func problems() throws {
    let (resolver, _) = try resolvers()[0]
    let list = try FileList(
      parsing: Array("/a/one\n/none\n/numbers \n/numbers/\n/a\n/loop\n/short\n/sparse\r\n/numbers\n".utf8))
    for entry in list.entries { try resolver.add(entry) }
    let resolution = resolver.resolution
    #expect(resolution.files == 2 && resolution.entriesFound == 4)
    #expect(resolution.problems.map(\.line) == [2, 3, 4, 5, 6, 8])
    #expect(
      resolution.problems.map(\.error) == [
        .notFound, .notFound, .notDirectory, .onlyDirectory, .tooManyLinks, .notFound,
      ])
    #expect("\(resolution.problems[0])" == "line 2: /none: there is no such file in the image")
    #expect("\(resolution.problems[1])".hasSuffix("ends with a space, which is taken as a part of it"))
    #expect("\(resolution.problems[5])".hasSuffix("ends with a carriage return, which is taken as a part of it"))
  }

  @Test("without the walk only content is taken")
  func withoutWalk() throws {
    let tree = try Tree()
    let resolver = try FileResolver(try Disk.file(try tree.ext(["-t", "ext4", "-b", "4096"])), withWalk: false)
    try resolver.add("/random")
    #expect(resolver.resolution.ranges == (try resolver.content("/random")).joined)
    #expect(resolver.resolution.metadataBytes == 0 && resolver.resolution.contentBytes == 74 * 4096)
  }

  @Test("with an inode come those that the kernel reads ahead, as far as they were ever used")
  func readAhead() throws {
    let tree = try Tree()
    let image = try tree.ext(["-t", "ext4", "-b", "4096"])
    let resolver = try FileResolver(try Disk.file(image))
    try resolver.add("/numbers")
    let system = try #require(resolver.system as? Ext4)
    let group = try system.group(0)
    let table = try system.inodeTable(group, 0)
    let used = (system.layout.inodesPerGroup - group.unusedInodes) * system.layout.inodeSize / 4096
    // The root's inode is in the first block of the table.
    let first = table.lowerBound / 4096
    let last = min(max(first, (first / 32) * 32) + 32, first + used)
    #expect(used > 32 && resolver.resolution.ranges.inOrder.covers(first * 4096..<(last + 1) * 4096))
    #expect(group.unusedInodes > 0)
  }
}
