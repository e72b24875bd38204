import Glibc
import Posix
import TestSupport
import Testing
import Trace
import ZFile

@testable import Image

@Suite("Traces of an image")
struct TraceTests {
  @Test("reads become the first touches of what they read, and nothing else")
  func reads() throws {
    var random = SplitMix.announced("traces of reads")
    for _ in 0..<40 {
      let scratch = try Scratch(inMemory: true)
      let (image, _) = try randomImage(scratch, &random)
      let reads = randomReads(image, &random)
      let made = try image.trace(of: reads)
      try made.trace.validate()
      #expect(made.trace.layers == image.traceLayers && made.trace.deviceSize == image.virtualSize)
      #expect(made.notes.isEmpty == reads.allSatisfy { $0.range.upperBound <= image.virtualSize })
      // The slow way: for each byte of the disk that a layer has, when it is read first.
      var first: [UInt64: UInt64] = [:]
      for read in reads {
        for piece in image.pieces(ofDevice: read.range) {
          for byte in piece.device { first[byte] = min(first[byte] ?? .max, read.microseconds) }
        }
      }
      var found: [UInt64: UInt64] = [:]
      for access in made.trace.accesses {
        for byte in access.device { #expect(found.updateValue(access.microseconds, forKey: byte) == nil) }
        let pieces = image.pieces(ofDevice: access.device)
        #expect(pieces.allSatisfy { $0.layer == access.layer })
      }
      #expect(found == first)
    }
  }

  @Test("a trace goes to overlaybd's form and comes back with the same stored bytes, in the same order")
  func overlaybd() throws {
    var random = SplitMix.announced("traces of overlaybd")
    for _ in 0..<40 {
      let scratch = try Scratch(inMemory: true)
      let (image, _) = try randomImage(scratch, &random)
      var timeless = randomReads(image, &random).map { DeviceRead(microseconds: 0, range: $0.range) }
      timeless.removeAll { $0.range.upperBound > image.virtualSize }
      let trace = try image.trace(of: timeless).trace
      let made = image.overlaybdTrace(of: trace)
      #expect(made.records.allSatisfy { $0.count > 0 && $0.count <= OverlaybdTrace.countMax })
      let written = made.encoded()
      let parsed = try OverlaybdTrace(parsing: written.span.bytes)
      #expect(parsed == made)
      let back = try image.trace(of: parsed)
      #expect(back.notes.isEmpty)
      // Neighbours may have become one, so bytes are compared.
      let isSameOrder = back.trace.accesses.flatMap { Array($0.device) } == trace.accesses.flatMap { Array($0.device) }
      #expect(isSameOrder)
      let difference = TraceDifference(trace, back.trace)
      #expect(difference.onlyFirst == 0 && difference.onlySecond == 0)
    }
  }

  @Test("records of what no disk shows are of no range of the disk, and what is not there is named")
  func metadata() throws {
    var random = SplitMix.announced("records of metadata")
    for _ in 0..<20 {
      let scratch = try Scratch(inMemory: true)
      let (image, _) = try randomImage(scratch, &random)
      let layer = image.layers[0]
      let end = layer.blobSize
      let trace = OverlaybdTrace(records: [
        .init(layer: 0, offset: 0, count: 4096), .init(layer: 0, offset: end - 4096, count: 4096),
        .init(operation: .write, layer: 0, offset: 0, count: 1), .init(layer: 200, offset: 0, count: 1),
        .init(layer: 0, offset: end, count: 512), .init(layer: 0, offset: 0, count: 0),
      ])
      let made = try image.trace(of: trace)
      #expect(made.trace.accesses.allSatisfy { $0.device.isEmpty && $0.layer == 0 })
      #expect(made.notes.count == 3 && made.notes.allSatisfy { $0.hasSuffix(": 1") })
      let stored = made.trace.storedRanges()[made.trace.layers[0]]
      #expect(stored?.contains(layer.storedRange(ofBlob: 0..<4096)) == true)
      #expect(stored?.contains(layer.storedRange(ofBlob: end - 4096..<end)) == true)
    }
  }

  @Test("a trace follows its layers to another image, and leaves behind what that does not have")
  func otherImage() throws {
    var random = SplitMix.announced("traces of other images")
    for _ in 0..<30 {
      let scratch = try Scratch(inMemory: true)
      let (image, raw) = try randomImage(scratch, &random)
      let trace = try image.trace(of: [DeviceRead(microseconds: 7, range: 0..<image.virtualSize)]).trace
      // The same layers below one that hides a part of them.
      var changed = raw
      for position in 0..<min(20_000, raw.count) { changed[position] = UInt8(truncatingIfNeeded: random.next()) }
      try scratch.write("raw2", changed)
      var options = ImportOptions(source: scratch("raw2"), directory: scratch("top"))
      options.parent = image.config.path
      let upper = try Image.open(configPath: try Importer.run(options).configPath)
      let moved = try upper.trace(of: trace)
      #expect(moved.notes.isEmpty && moved.trace.layers.count == trace.layers.count + 1)
      try moved.trace.validate()
      #expect(moved.trace.accesses.allSatisfy { $0.layer != trace.layers.count && $0.microseconds == 7 })
      #expect(TraceDifference(trace, moved.trace).onlyFirst == 0)
      // And back, where all of it is shown again.
      let back = try image.trace(of: moved.trace)
      let difference = TraceDifference(trace, back.trace)
      #expect(difference.onlyFirst == 0 && difference.onlySecond == 0)
      // On an image without any of the layers nothing is left, and that is said.
      let other = try Image.open(config: ImageConfig(lowers: [upper.config.lowers[trace.layers.count]]))
      let nothing = try other.trace(of: trace)
      #expect(nothing.trace.accesses.isEmpty && nothing.notes.count == (trace.accesses.isEmpty ? 0 : 1))
    }
  }

  @Test("a layer that is in the stack twice is found in order")
  func twice() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 9)
    try scratch.write("raw", random.bytes(20_000))
    let imported = try Importer.run(ImportOptions(source: scratch("raw"), directory: scratch("a")))
    var config = try ImageConfig.load(imported.configPath)
    config.lowers += config.lowers
    let image = try Image.open(config: config)
    #expect(image.layerNumbers(of: image.emptyTrace()) == [0, 1])
    let single = try Image.open(configPath: imported.configPath)
    #expect(single.layerNumbers(of: image.emptyTrace()) == [0, 0])
    #expect(image.layerNumbers(of: single.emptyTrace()) == [0])
  }

  @Test("files are what their bytes say, also in a tar and from a pipe")
  func files() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 4)
    let (image, _) = try randomImage(scratch, &random)
    let trace = try image.trace(of: [DeviceRead(microseconds: 3, range: 0..<image.virtualSize)]).trace
    func load(_ bytes: [UInt8]) throws -> TraceSource { try TraceSource.load(scratch.write("trace", bytes)) }
    guard case .accesses(let ours) = try load(trace.encoded()) else { throw Unexpected() }
    #expect(ours == trace)
    var text = ""
    trace.forEachJSONLine { text += $0 }
    guard case .accesses(let json) = try load(Array(text.utf8)) else { throw Unexpected() }
    #expect(json == trace)
    guard case .reads(let reads) = try load(Array("0 512\n".utf8)) else { throw Unexpected() }
    #expect(reads.reads == [DeviceRead(microseconds: 0, range: 0..<512)])
    let overlaybd = image.overlaybdTrace(of: trace).encoded()
    try scratch.write("trace", overlaybd)
    try runProgram(["tar", "-C", scratch.path, "--format=ustar", "-cf", scratch("layer.tar"), "trace"])
    guard case .overlaybd(let inTar) = try TraceSource.load(scratch("layer.tar")) else { throw Unexpected() }
    #expect(inTar.encoded() == overlaybd)
    try #require(mkfifo(scratch("pipe"), 0o600) == 0)
    try runProgram(["sh", "-c", "exec > /dev/null; cat '\(scratch("trace"))' > '\(scratch("pipe"))' &"])
    guard case .overlaybd = try TraceSource.load(scratch("pipe")) else { throw Unexpected() }
  }

  private struct Unexpected: Error {}

  @Test("inspection tells of a trace, and what is wrong with a damaged one")
  func inspection() throws {
    let scratch = try Scratch(inMemory: true)
    var random = SplitMix(state: 5)
    let (image, _) = try randomImage(scratch, &random)
    let trace = try image.trace(of: [DeviceRead(microseconds: 0, range: 0..<image.virtualSize)]).trace
    var bytes = try trace.encoded()
    let sound = Inspector.inspect(try scratch.write("trace", bytes))
    #expect(sound.kind == .trace && sound.findings.isEmpty)
    #expect(sound.trace?.records == trace.accesses.count && sound.trace?.layers == UInt64(image.layers.count))
    bytes[bytes.count - 1] ^= 1
    let damaged = Inspector.inspect(try scratch.write("trace", bytes))
    #expect(damaged.kind == .trace && damaged.findings.count == 1)
    #expect(damaged.findings.first?.message.contains("CRC") == true)
  }

  @Test("a report that is written is what is read again, whatever is in it")
  func reportsRoundTrip() throws {
    let scratch = try Scratch(inMemory: true)
    let seed = UInt64.random(in: 0...UInt64.max)
    var random = SplitMix(state: seed)
    for _ in 0..<50 {
      func parts(withTimes: Bool) -> [GradeReport.Part] {
        (0..<Int.random(in: 0...20, using: &random)).map { _ in
          let start = UInt64.random(in: 0...UInt64(Int64.max) - 1, using: &random)
          let end = UInt64.random(in: start + 1...UInt64(Int64.max), using: &random)
          return GradeReport.Part(
            layer: ["sha256:ab", "0b5c", "a\"\\\n/é"].randomElement(using: &random)!, stored: start..<end,
            microseconds: withTimes ? UInt64.random(in: 0...UInt64(Int64.max), using: &random) : 0)
        }
      }
      let report = GradeReport(wasted: parts(withTimes: false), untraced: parts(withTimes: true))
      let path = try scratch.write("report", try report.encoded())
      #expect(try GradeReport.load(path) == report, "seed \(seed)")
    }
  }

  @Test("a report is read, and one that is none is refused by the key that is wrong")
  func reports() throws {
    let scratch = try Scratch(inMemory: true)
    func load(_ text: String) throws -> GradeReport { try GradeReport.load(scratch.write("report", text)) }
    #expect(
      try load(
        #"{"device":7,"wasted":[{"layer":"sha256:a","offset":4096,"length":1024}],"untraced":[{"layer":"b","offset":0,"length":2,"microseconds":9}]}"#
      )
        == GradeReport(
          wasted: [.init(layer: "sha256:a", stored: 4096..<5120)],
          untraced: [.init(layer: "b", stored: 0..<2, microseconds: 9)]))
    for (text, key) in [
      ("x", ""), ("{}", "wasted"), (#"{"wasted":[]}"#, "untraced"), (#"{"wasted":[1],"untraced":[]}"#, "wasted[0]"),
      (#"{"wasted":[{"layer":"a","offset":0,"length":0}],"untraced":[]}"#, "wasted[0]"),
      (#"{"wasted":[],"untraced":[{"layer":"a","offset":9223372036854775807,"length":1}]}"#, "untraced[0]"),
    ] {
      #expect {
        try load(text)
      } throws: { error in
        guard case ImageError.json(_, let found, _) = error else { return false }
        return found == key
      }
    }
  }

  /// Ranges of all sizes, some beyond the disk, some twice, at random times.
  private func randomReads(_ image: Image, _ random: inout SplitMix) -> [DeviceRead] {
    (0..<Int.random(in: 0...12, using: &random)).map { _ in
      let start = UInt64.random(in: 0..<image.virtualSize, using: &random)
      let count = UInt64.random(in: 1...40_000, using: &random)
      return DeviceRead(microseconds: UInt64.random(in: 0...5, using: &random), range: start..<start + count)
    }
  }
}
