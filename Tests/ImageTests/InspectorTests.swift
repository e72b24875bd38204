import FoundationEssentials
import Glibc
import LSMT
import Posix
import Testing
import TestSupport

@testable import Image

@Suite(.enabled(if: Fixtures.folder != nil, Comment(rawValue: Fixtures.absence)))
struct InspectorTests {
  @Test(
    "every kind of file is recognized, and what is sound is verified without a finding",
    arguments: [
      ("lsmt/l0.lsmt", Inspection.Kind.committedLayer), ("lsmt/l1.sealed", .sealedLayer),
      ("lsmt/l2.nouuid.lsmt", .committedLayer), ("lsmt/l0.data", .upperData), ("lsmt/l0.index", .upperIndex),
      ("upper/up.data", .upperData), ("upper/up.index", .upperIndex), ("tar/l0.commit.z.t.tar", .committedLayer),
      ("tar/l2.ustar.raw.tar", .committedLayer), ("zfile/l0.lib.zstd.64k.crc0.ow1.zf", .committedLayer),
      ("zfile/l2.lib.zstd.8k.crc0.ow0.zf", .committedLayer), ("quirks/rnd.lz4.64k.zf", .zfile),
      ("quirks/rnd.lz4.16k.zf", .zfile), ("quirks/empty.lsmt", .committedLayer),
      ("quirks/over2TiB.lsmt", .committedLayer), ("trace/t1.trace", .overlaybdTrace), ("README.md", .unknown),
    ])
  func kinds(name: String, kind: Inspection.Kind) throws {
    let path = Fixtures.path(name)
    let inspection = Inspector.inspect(path, verify: true)
    #expect(inspection.kind == kind)
    #expect(inspection.findings.isEmpty, "\(inspection)")
    #expect(inspection.isVerified && "\(inspection)".contains(kind.rawValue))
    #expect(inspection.fileSize == (try UInt64(readFile(path).count)))
    #expect(try JSONEncoder().encode(inspection).count > 20)
  }

  @Test("facts are those that the independent decoder has")
  func facts() throws {
    let layer = Inspector.inspect(Fixtures.path("tar/l0.commit.z.t.tar"))
    #expect(layer.tar?.payloadOffset == 1536 && layer.compression?.codec == "lz4")
    #expect(layer.compression?.blockSize == 4096 && layer.compression?.originalSize == 283_136)
    let index = try #require(Inspector.inspect(Fixtures.path("lsmt/l0.lsmt")).index)
    let lines = String(decoding: try Fixtures.bytes("lsmt/l0.idx.txt"), as: UTF8.self).split(separator: "\n")
    let entries = lines.compactMap { line -> (UInt64, Bool)? in
      let words = line.split(separator: " ")
      guard words.count == 5, let length = UInt64(words[1]) else { return nil }
      return (length, words[3].hasSuffix("1"))
    }
    #expect(index.segments == entries.count)
    #expect(index.dataBytes == entries.filter { !$0.1 }.reduce(0) { $0 + $1.0 } * 512)
    #expect(index.zeroedBytes == entries.filter { $0.1 }.reduce(0) { $0 + $1.0 } * 512)
    let trace = try #require(Inspector.inspect(Fixtures.path("trace/t1.trace")).trace)
    #expect(trace.records == 7 && trace.layers == 256)
  }

  @Test("of an upper it is said what is live, what is garbage, what a crash left, and nothing is changed")
  func upper() throws {
    let scratch = try Scratch(inMemory: true)
    var upper = MadeUpper(sectors: 64, uuid: .random())
    upper.write([UInt8](repeating: 1, count: 4096), at: 0)
    upper.write([UInt8](repeating: 2, count: 1024), at: 1)
    upper.zero(at: 7, count: 20)
    upper.add(Segment(offset: 1, length: 3, moffset: 1 << 40))
    upper.index += [1, 2, 3]
    upper.data += [1, 2, 3, 4, 5]
    let config = try upper.save(scratch)
    let (data, index) = (scratch("upper.data"), scratch("upper.index"))
    let held = try Descriptor.open(data, O_RDWR)
    for isInUse in [false, true] {
      if isInUse { try #require(flock(held.rawValue, LOCK_EX | LOCK_NB) == 0) }
      let whole = Inspector.inspect(config, verify: true, pendingFolder: scratch("run"))
      #expect(whole.findings.isEmpty && whole.image?.virtualSize == 64 * 512, "\(whole)")
      #expect(whole.image?.layers.map(\.isUpper) == [true])
      #expect(
        whole.image?.layers[0].visibleDataBytes == 7 * 512 && whole.image?.layers[0].visibleZeroedBytes == 20 * 512)
      for inspection in [Inspector.inspect(data), try #require(whole.image?.layers[0].inspection)] {
        let facts = try #require(inspection.upper)
        #expect(facts.kind == .append && facts.indexPath == index && facts.entries == 4)
        #expect(facts.liveBytes == 7 * 512 && facts.garbageBytes == 3 * 512 + 5)
        #expect(facts.cutEntries == 1 && facts.tornIndexBytes == 3 && facts.tornDataBytes == 5)
        #expect(facts.isInUse == isInUse && facts.pendingEntries == 0)
        #expect(inspection.notes.count == (isInUse ? 5 : 4) && inspection.findings.isEmpty)
      }
    }
    #expect(try readFile(data) == upper.data)
    #expect(try readFile(index) == upper.index)
    // Without its index it is told how to have it looked at.
    try #require(rename(index, scratch("other")) == 0)
    let alone = Inspector.inspect(data)
    #expect(alone.upper?.entries == nil && alone.notes.contains { $0.contains("index file") })
    #expect(!Inspector.inspect(config).findings.isEmpty)
  }

  @Test("a sparse upper is recognized")
  func sparse() throws {
    let scratch = try Scratch()
    try runProgram([
      "tar", "--zstd", "-xf", Fixtures.path("upper/sparse.tar.zst"), "-C", scratch.path, "--no-same-owner",
    ])
    #expect(Inspector.inspect(scratch("sp.data")).kind == .sparseUpper)
  }

  @Test("a configuration is inspected with its layers and their chain")
  func chain() throws {
    let scratch = try Scratch()
    var parent: String?
    for level in 0..<3 {
      var options = ImportOptions(
        source: try scratch.write("raw", [UInt8](repeating: UInt8(level + 1), count: 40960)),
        directory: scratch("\(level)"))
      options.parent = parent
      parent = try Importer.run(options).configPath
    }
    let whole = Inspector.inspect(parent!, verify: true)
    #expect(whole.kind == .imageConfig && whole.findings.isEmpty && whole.notes.isEmpty, "\(whole)")
    #expect(whole.image?.virtualSize == 40960 && whole.image?.layers.count == 3)
    #expect(whole.image?.layers.map(\.visibleDataBytes) == [0, 0, 40960])
    // The middle layer is missing.
    var config = try ImageConfig.load(parent!)
    config.lowers.remove(at: 1)
    let broken = Inspector.inspect(try scratch.write("broken.json", try config.encoded()))
    #expect(broken.findings.isEmpty && broken.notes.count == 1, "\(broken)")
    #expect(broken.notes[0].hasPrefix("layer 1 was made on layer "))
    // Another digest, another size.
    config.lowers[0].digest = "sha256:" + String(repeating: "0", count: 64)
    config.lowers[1].size = 5
    let wrong = Inspector.inspect(try scratch.write("wrong.json", try config.encoded()), verify: true)
    #expect(wrong.findings.contains { $0.expected == config.lowers[0].digest && $0.file == config.lowers[0].file })
    #expect(wrong.findings.contains { $0.expected == "5 bytes" && $0.file == config.lowers[1].file })
  }

  @Test("what cannot be served is said by name")
  func unsupported() throws {
    let scratch = try Scratch()
    let json = #"{"lowers":[{"digest":"sha256:ab"}],"upper":{"data":"d","index":"i"},"recordTracePath":"t"}"#
    let inspection = Inspector.inspect(try scratch.write("config.v1.json", Array(json.utf8)))
    #expect(inspection.kind == .imageConfig)
    #expect(inspection.findings.contains { $0.message.contains("lowers[0]") && $0.message.contains("sha256:ab") })
    #expect(inspection.findings.contains { $0.file == scratch("d") })
    let service = Inspector.inspect(try scratch.write("overlaybd.json", Array(#"{"ioEngine":1}"#.utf8)))
    #expect(service.kind == .serviceConfig && service.notes.count == 1)
    #expect(Inspector.inspect(try scratch.write("other.json", Array("{\"a\":1}".utf8))).kind == .unknown)
    #expect(Inspector.inspect(scratch.path).findings.count == 1)
    #expect(Inspector.inspect("/nonexistent").findings.count == 1)
  }
}
