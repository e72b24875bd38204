import TestSupport

@testable import FileSystems

/// What debugfs of e2fsprogs says about an image: the judge of our own reader.
struct Debugfs {
  let image: String
  let scratch: Scratch

  /// Runs requests; with `writing` they may change the image.
  func run(_ requests: [String], writing: Bool = false) throws -> String {
    let file = try scratch.write("requests", requests.joined(separator: "\n") + "\n")
    let output = try runProgram(["debugfs"] + (writing ? ["-w"] : []) + ["-f", file, image])
    return String(decoding: output, as: UTF8.self)
  }

  /// Blocks of an inode.
  struct Blocks: Equatable {
    /// Bytes of content.
    var size: UInt64 = 0
    /// Pairs of the block in the file and on the disk, without those that are only reserved.
    var data: [[UInt64]] = []
    /// Blocks of the map.
    var map: Set<UInt64> = []
  }

  /// For each path what `stat` prints: `(0-11):562-573, (IND):574, (13[u]):580`.
  func blocks(_ paths: [String]) throws -> [Blocks] {
    let output = try run(paths.map { "stat \"\($0)\"" })
    return output.split(separator: "debugfs: stat ").map { text in
      var blocks = Blocks(size: text.firstMatch(of: /Size: (\d+)\n/).map { UInt64($0.1)! } ?? .max)
      for match in text.matches(of: /\((\w+)(?:-(\d+))?(\[u\])?\):(\d+)(?:-(\d+))?/) {
        let first = UInt64(match.4)!
        guard let logical = UInt64(match.1) else {
          blocks.map.insert(first)
          continue
        }
        if match.3 != nil { continue }
        let last = match.5.map { UInt64($0)! } ?? first
        blocks.data += (0...last - first).map { [logical + $0, first + $0] }
      }
      blocks.data.sort { $0[0] < $1[0] }
      return blocks
    }
  }
}
