import Posix
import Testing
import TestSupport

@testable import FileSystems

@Suite struct ErofsTests {
  static let plain: [[String]] = [
    [], ["-E", "noinline_data"], ["-E", "force-inode-extended"], ["-E", "force-inode-compact"], ["--chunksize=4096"],
    ["--chunksize=65536"], ["--chunksize=4096", "-E", "force-chunk-indexes"], ["-E", "nosbcrc", "-x", "-1"],
  ]

  static let compressed: [[String]] = [
    ["-zlz4"], ["-zlz4hc"], ["-zlz4hc,12", "-C65536"], ["-zlz4", "-C16384"], ["-zlz4", "-E", "legacy-compress"],
    ["-zlz4hc", "-C65536", "-E", "legacy-compress"], ["-zlz4", "-E", "ztailpacking"],
    ["-zlz4hc", "-C65536", "-E", "ztailpacking"],
    ["-zlz4", "-E", "ztailpacking,legacy-compress"], ["-zlz4", "--max-extent-bytes=8192", "-C32768"],
  ]

  @Test("ranges of every file have its content, and are those that dump.erofs names", arguments: plain)
  func content(options: [String]) throws {
    let tree = try Tree()
    let image = try tree.erofs(options)
    let resolver = try FileResolver(try Disk.file(image))
    let bytes = try readFile(image)
    for path in tree.files {
      let source = try tree.source(path)
      let ranges = try resolver.content(path)
      let content = ranges.flatMap { bytes[Int($0.lowerBound)..<Int($0.upperBound)] }
      expectSame(Array(content.prefix(source.count)), source, path)
      #expect(content.count - source.count < 4096, "\(path)")
    }
    try compare(image, resolver, tree.files.filter { !$0.contains("/many/") && $0 != "/empty" })
  }

  @Test("physical clusters of every file are those that dump.erofs names", arguments: compressed)
  func clusters(options: [String]) throws {
    let tree = try Tree()
    try tree.addCompressible()
    let image = try tree.erofs(options)
    let resolver = try FileResolver(try Disk.file(image))
    let paths = tree.files.filter { !$0.contains("/many/") && $0 != "/empty" } + ["/text", "/zeroes", "/mixed"]
    let layouts = try compare(image, resolver, paths)
    // A judge of nothing would agree: the image has to be compressed.
    #expect(layouts.contains(options.contains { $0.contains("legacy") } ? 1 : 3))
  }

  /// Compares with `dump.erofs -e`, and returns the layouts that it names.
  @discardableResult
  private func compare(_ image: String, _ resolver: FileResolver, _ paths: [String]) throws -> Set<Int> {
    var layouts: Set<Int> = []
    for path in paths {
      let text = String(decoding: try runProgram(["dump.erofs", "--path=\(path)", "-e", image]), as: UTF8.self)
      let extents = text.matches(of: /\d+: +\d+\.\. *\d+ \| +\d+ : +(\d+)\.\. +(\d+) \| +(\d+)/)
        .map { UInt64($0.1)!..<UInt64($0.2)! }.filter { !$0.isEmpty }
      layouts.insert(Int(try #require(text.firstMatch(of: /Layout: (\d)/)).1)!)
      try #require(!extents.isEmpty, "\(text)")
      let ranges = try resolver.content(path)
      expectSame(Self.blocks(ranges), Self.blocks(extents), path)
    }
    return layouts
  }

  /// dump.erofs ends the content of files at their last byte.
  private static func blocks(_ ranges: [DiskRange]) -> [UInt64] {
    ranges.flatMap { Array($0.lowerBound / 4096..<($0.upperBound + 4095) / 4096) }
  }

  @Test("metadata has every inode and directory, and no content")
  func metadata() throws {
    let tree = try Tree()
    for options in [[], ["-zlz4"], ["--chunksize=4096"]] {
      let image = try tree.erofs(options)
      let resolver = try FileResolver(try Disk.file(image))
      try resolver.addMetadata()
      let resolution = resolver.resolution
      #expect(resolution.problemCount == 0 && resolution.contentBytes == 0)
      // Reading all of the tree touches nothing more than content.
      try resolver.add("/")
      #expect(resolver.resolution.metadataBytes == resolution.metadataBytes, "\(options)")
      #expect(resolution.ranges.inOrder.covers(0..<4096))
      let size = try #require(UInt64(exactly: try Descriptor.open(image).status().st_size))
      #expect(resolution.metadataBytes < size / 4)
    }
  }
}

extension Tree {
  /// Files that become few and many clusters, compressed and not.
  func addCompressible() throws {
    var random = SplitMix.announced("compressible files")
    try scratch.write("tree/text", (0..<60_000).map { "line \($0 * 7919 % 1000)\n" }.joined())
    try scratch.write("tree/zeroes", [UInt8](repeating: 0, count: 3_000_001))
    var mixed: [UInt8] = []
    while mixed.count < 2_000_000 {
      let count = Int.random(in: 1...30_000, using: &random)
      mixed += Bool.random(using: &random) ? random.bytes(count) : [UInt8](repeating: UInt8(count & 0xFF), count: count)
    }
    try scratch.write("tree/mixed", mixed)
  }
}
