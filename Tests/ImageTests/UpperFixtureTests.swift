import Glibc
import LSMT
import Posix
import TestSupport
import Testing

@testable import Image

@Suite(.enabled(if: Fixtures.folder != nil, Comment(rawValue: Fixtures.absence)))
struct UpperFixtureTests {
  private let lowers = ["lsmt/l0.lsmt", "lsmt/l1.lsmt", "lsmt/l2.lsmt"]

  /// A configuration of upstream's layers with an upper, whose files are copied: they are locked while they are read.
  private func config(_ lowers: [String], data: String, index: String?, _ scratch: Scratch) throws -> String {
    var config = ImageConfig(lowers: lowers.map { .init(file: Fixtures.path($0)) })
    config.upper.data = data
    config.upper.index = index
    return try scratch.write("image.json", try config.encoded())
  }

  private func digest(_ image: Image) throws -> String { sha256(try contents(of: image)) }

  private func check(_ config: String, _ lowers: [String], _ expected: String, _ scratch: Scratch) throws {
    let digest = try Fixtures.digest("upper/expected.\(expected).img.sha256")
    let image = try Image.open(configPath: config, upper: .readOnly(pendingFolder: scratch("run")))
    #expect(image.warnings.isEmpty)
    #expect(try self.digest(image) == digest)
    let layer = try Committer.run(
      config, pendingFolder: scratch("run"), to: LayerOptions(output: scratch("\(expected).commit"))
    ).layerPath
    let stack = lowers.map(Fixtures.path) + [layer]
    #expect(try self.digest(try Image.open(configPath: try scratch.config(stack, name: "stack.json"))) == digest)
    let merged = try Merger.run(image, to: LayerOptions(output: scratch("\(expected).merged"))).layerPath
    #expect(try self.digest(try Image.open(configPath: try scratch.config([merged], name: "one.json"))) == digest)
  }

  @Test("upstream's append-only upper reads, commits and merges to what upstream reads, on its layers and alone")
  func appendOnly() throws {
    let scratch = try Scratch(inMemory: true)
    let data = Fixtures.path("upper/up.data")
    let index = Fixtures.path("upper/up.index")
    try check(try config(lowers, data: data, index: index, scratch), lowers, "up", scratch)
    try check(try config([], data: data, index: index, scratch), [], "up1", scratch)
  }

  @Test("upstream's sparse upper reads, commits and merges to what upstream reads after it was opened again")
  func sparse() throws {
    let scratch = try Scratch()
    try runProgram([
      "tar", "--zstd", "-xf", Fixtures.path("upper/sparse.tar.zst"), "-C", scratch.path, "--no-same-owner",
    ])
    let config = try config(lowers, data: scratch("sp.data"), index: Fixtures.path("upper/sp.index"), scratch)
    try check(config, lowers, "sp.reopen", scratch)
  }

  @Test("uppers that hold no zeroes are committed to upstream's very bytes")
  func sameBytes() throws {
    let scratch = try Scratch(inMemory: true)
    for (name, expected) in [("l1", "l1.lsmt"), ("l1.sealed", "l1.fromsealed.lsmt")] {
      let theirs = try readFile(Fixtures.path("lsmt/\(expected)"))
      let record = try LayerRecord(parsing: theirs.span.bytes, as: .header)
      var options = LayerOptions(output: scratch(expected))
      options.uuid = record.uuid
      options.parentUUID = record.parentUUID
      options.tag = String(decoding: record.userTag, as: UTF8.self)
      let isSealed = name.hasSuffix("sealed")
      let made = try Committer.run(
        Fixtures.path("lsmt/\(name)\(isSealed ? "" : ".data")"),
        index: isSealed ? nil : Fixtures.path("lsmt/\(name).index"), pendingFolder: scratch("run"), to: options)
      #expect(made.digest == "sha256:\(sha256(theirs))", "\(expected)")
    }
  }
}
