import Posix
import TestSupport
import Testing
import Trace

@testable import Image

@Suite("An acceleration layer")
struct AccelerationLayerTests {
  private let trace = OverlaybdTrace(records: [
    .init(layer: 0, offset: 0, count: 4096), .init(layer: 3, offset: 0x123000, count: 131072),
  ])

  @Test("is the archive that Go's archive/tar makes of the trace, and the only trace of its image")
  func written() throws {
    let scratch = try Scratch()
    let image = try ImageConfig.parse(
      Array(
        #"{"lowers":[{"file":"a"},{"dir":"old"}],"accelerationLayer":true,"recordTracePath":"t","resultFile":"r"}"#.utf8
      ),
      folder: "/images")
    let layer = AccelerationLayer(folder: scratch("new/layer//"))
    try layer.prepare(force: false)
    let written = try layer.write(trace, for: image)
    #expect(try readFile(layer.tracePath) == trace.encoded())
    // From Go 1.19 with the 72 bytes of this trace, mode 0444 and no time.
    #expect(
      written
        == .init(digest: "sha256:0c3a71ca0acfbc21b3fd6420cfa37da4d961db2cfaba9fef7211d3880ccc8753", size: 2048))
    #expect(try readFile(layer.archivePath).count == 2048)
    guard case .overlaybd(let found) = try TraceSource.load(layer.archivePath) else {
      Issue.record("the archive is not read as its trace")
      return
    }
    #expect(found == trace)
    let made = try ImageConfig.load(layer.configPath)
    #expect(made.lowers == [ImageConfig.Lower(file: "/images/a")] && made.resultFile == "/images/r")
    #expect(made.accelerationLayer == ImageConfig.Lower(dir: scratch("new/layer")) && made.recordTracePath == nil)
    try made.requireSupported()
  }

  @Test("does not replace what is there unless it is told to")
  func present() throws {
    let scratch = try Scratch()
    try scratch.write("layer.tar", "mine")
    let layer = AccelerationLayer(folder: scratch.path)
    let error = #expect(throws: ImageError.self) { try layer.prepare(force: false) }
    #expect(error?.description.contains("\(scratch("layer.tar")) is there already") ?? false)
    try layer.prepare(force: true)
    _ = try layer.write(trace, for: ImageConfig(lowers: [.init(file: "/a")]))
    #expect(try readFile(layer.archivePath).count == 2048)
  }

  @Test("is made with an image that neither replays, records, downloads, nor reports")
  func trial() throws {
    let image = try ImageConfig.parse(
      Array(
        #"{"lowers":[{"file":"a"},{"dir":"b"}],"accelerationLayer":true,"resultFile":"r","download":{"enable":true}}"#
          .utf8
      ), folder: "/images")
    let trial = image.forTrial
    #expect(trial.lowers == image.lowers && trial.accelerationLayer == nil && trial.resultFile == nil)
    #expect(trial.download?.enable == false && image.forTrial.forTrial == trial)
  }
}
