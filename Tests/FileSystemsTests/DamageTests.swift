import Posix
import Testing
import TestSupport

@testable import FileSystems

/// Images with wrong bytes in them: an error, or a wrong answer, but no crash and an end.
@Suite struct DamageTests {
  private static let extOptions: [[String]] = [
    ["-t", "ext4", "-b", "1024"], ["-t", "ext2", "-b", "1024"],
    ["-t", "ext4", "-b", "4096", "-O", "inline_data,^metadata_csum", "-I", "256"],
  ]
  private static let erofsOptions: [[String]] = [
    [], ["-zlz4hc", "-C65536"], ["-zlz4", "-E", "legacy-compress,ztailpacking"], ["--chunksize=4096"],
  ]

  @Test("damaged ext2 and ext4", arguments: extOptions)
  func ext(options: [String]) throws {
    let tree = try Tree()
    try damage(try tree.ext(options, size: "8M"), tree)
  }

  @Test("damaged EROFS", arguments: erofsOptions)
  func erofs(options: [String]) throws {
    let tree = try Tree()
    try damage(try tree.erofs(options), tree)
  }

  private func damage(_ image: String, _ tree: Tree) throws {
    var random = SplitMix.announced("damaged \(image)")
    let sound = try readFile(image)
    let resolver = try FileResolver(Disk(sound))
    try resolver.addMetadata()
    // Content is never looked at: damage there would be wasted.
    let places = resolver.resolution.ranges
    let entries = try FileList(
      parsing: Array((tree.files + ["/many/", "/", "/long", "/absolute/"]).joined(separator: "\n").utf8)
    ).entries
    var failures = 0
    for _ in 0..<25 {
      var bytes = sound
      for _ in 0..<Int.random(in: 1...40, using: &random) {
        let place = places.randomElement(using: &random)!
        let offset = Int(UInt64.random(in: place, using: &random))
        let value: [UInt8] = [0, 0xFF, 1, 0x80, UInt8.random(in: 0...255, using: &random)]
        for byte in offset..<min(bytes.count, offset + Int.random(in: 1...8, using: &random)) {
          bytes[byte] = value.randomElement(using: &random)!
        }
      }
      let disk = Disk(bytes)
      do throws(FileSystemError) {
        let resolver = try FileResolver(disk)
        try resolver.addMetadata()
        for entry in entries { try resolver.add(entry) }
        let resolution = resolver.resolution
        failures += resolution.problemCount
        for problem in resolution.problems.prefix(5) { #expect(!problem.description.isEmpty) }
        let isInside = resolution.ranges.allSatisfy { !$0.isEmpty && $0.upperBound <= disk.size }
        #expect(isInside && resolution.ranges.total == resolution.contentBytes + resolution.metadataBytes)
      } catch {
        failures += 1
        #expect(!error.description.isEmpty)
      }
    }
    #expect(failures > 0, "the damage was never noticed")
  }

  @Test("a directory inside of itself ends the walk with an error that names it")
  func circle() throws {
    let tree = try Tree()
    let image = try tree.ext(["-t", "ext4"])
    _ = try Debugfs(image: image, scratch: tree.scratch).run(["link a a/b/again"], writing: true)
    let resolver = try FileResolver(try Disk.file(image))
    try resolver.add("/a/")
    #expect(resolver.resolution.problems.map { String(decoding: $0.path, as: UTF8.self) } == ["/a/b/again"])
    #expect("\(resolver.resolution.problems[0])".contains("is in its tree of directories twice"))
  }

  @Test("an inode's number, a block and the path are in the error")
  func places() throws {
    let tree = try Tree()
    let image = try tree.ext(["-t", "ext4", "-b", "4096"])
    let debugfs = Debugfs(image: image, scratch: tree.scratch)
    _ = try debugfs.run(["set_inode_field numbers block[0] 0xf30b", "set_inode_field random mode 0"], writing: true)
    let resolver = try FileResolver(try Disk.file(image))
    for path in ["/numbers", "/random", "/line"] { try resolver.add(path) }
    let number = try resolver.find(Array("/numbers".utf8)).number
    let problems = resolver.resolution.problems.map(\.description)
    try #require(problems.count == 2)
    #expect(problems[0] == "/numbers: inode \(number) is no node of an extent tree; the file system is damaged")
    #expect(problems[1].hasPrefix("/random: inode ") && problems[1].contains("so it is free"))
    #expect(resolver.resolution.files == 1)
  }
}
