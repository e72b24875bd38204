@testable import FileSystems

/// A disk with ext2, ext4 or EROFS, or nothing: whatever is on it, the walk ends, and what it finds is on the disk.
enum TheFuzzer: Fuzzer {
  private static let paths = ["/", "/d/", "/a", "/link", "/d/../d/b/", "/s", "lost+found"]

  static func run(_ input: [UInt8]) {
    let disk = Disk(input)
    do throws(FileSystemError) {
      let resolver = try FileResolver(disk)
      try resolver.addMetadata()
      for path in paths { try resolver.add(FileList.Entry(path: Array(path.utf8))) }
      check(resolver.resolution, disk)
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  private static func check(_ resolution: Resolution, _ disk: Disk) {
    var last: UInt64 = 0
    var total: UInt64 = 0
    for range in resolution.ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      require(!range.isEmpty && range.lowerBound >= last && range.upperBound <= disk.size, "\(resolution.ranges)")
      last = range.upperBound
      total += UInt64(range.count)
    }
    require(total == resolution.contentBytes + resolution.metadataBytes, "\(total) bytes of \(resolution)")
    for problem in resolution.problems { require(!problem.description.isEmpty, "a problem without words") }
  }

  /// What writes such disks are other programs: see seed_file_systems of scripts/lib/fuzz.sh.
  static func seeds() -> [[UInt8]] { [[UInt8](repeating: 0, count: 4096)] }
}
