import Device
import Glibc
import Image
import Posix
import Testing
import TestSupport

@testable import Host

@Suite("What is to be warmed")
struct WarmTracesTests {
  private let scratch: Scratch
  private let image: Image

  init() throws {
    scratch = try Scratch()
    try scratch.write("raw", [UInt8](repeating: 7, count: 1 << 20))
    let made = try Importer.run(ImportOptions(source: scratch("raw"), directory: scratch("image")))
    image = try Image.open(configPath: made.configPath)
  }

  private func plan(
    _ traces: [String], _ mode: WarmOptions.Mode?, _ level: WarmOptions.Level = .blob
  ) throws -> (plan: WarmPlan?, warnings: [String]) {
    var options = WarmOptions()
    options.traces = traces
    options.mode = mode
    options.level = level
    var warnings: [String] = []
    let plan = try WarmPlan.load(options, image) { warnings.append($0) }
    return (plan, warnings)
  }

  @Test("is nothing where no trace can be read: that is told, and a device is not called warm for it")
  func damaged() throws {
    let bad = try scratch.write("bad", Array("no trace".utf8))
    for mode in [nil, WarmOptions.Mode.wait, .background] {
      let (plan, warnings) = try plan([bad], mode)
      #expect(plan == nil)
      #expect(warnings.count == 1 && warnings[0].contains(bad), "\(warnings)")
    }
  }

  @Test("is nothing where the traces name nothing of this image, which is told as well")
  func others() throws {
    let beyond = try scratch.write("beyond", Array("\(1 << 40) 4096\n".utf8))
    let (none, warnings) = try plan([beyond], .wait)
    #expect(none == nil)
    #expect(warnings.count == 2 && warnings[1].hasSuffix("the device is made without this trace"), "\(warnings)")
    // One that was recorded while nothing was read is of this image all the same.
    let idle = try scratch.write("idle", try image.emptyTrace().encoded())
    let (empty, words) = try plan([idle], .wait)
    #expect(empty?.ranges == 0 && words.isEmpty, "\(words)")
  }

  @Test("is told of when an acceleration layer's trace is no file, and not when it is missing or empty")
  func own() throws {
    for (name, isTold) in [("missing", false), ("empty", false), ("folder", true), ("device", true)] {
      let layer = scratch(name)
      try makeDirectories(layer)
      switch name {
      case "empty": try scratch.write("empty/trace", [])
      case "folder": try makeDirectories("\(layer)/trace")
      case "device": symlink("/dev/zero", "\(layer)/trace")
      default: break
      }
      var config = image.config
      config.accelerationLayer = ImageConfig.Lower(dir: layer)
      var warnings: [String] = []
      let plan = try WarmPlan.load(WarmOptions(), try Image.open(config: config)) { warnings.append($0) }
      #expect(plan == nil && warnings.count == (isTold ? 1 : 0), "\(name): \(warnings)")
      #expect(warnings.allSatisfy { $0.contains("\(layer)/trace is no file") }, "\(name): \(warnings)")
    }
  }

  @Test("is what the traces name that can be read")
  func one() throws {
    let bad = try scratch.write("bad", Array("no trace".utf8))
    let good = try scratch.write("good", Array("4096 8192\n".utf8))
    let (plan, warnings) = try plan([bad, good], .wait)
    #expect(plan?.localBytes == 8192 && warnings.count == 1)
  }

  @Test("has to be named when it is asked for, and is nothing when it is not wanted")
  func nothing() throws {
    #expect(throws: HostError.self) { try plan([], .wait) }
    #expect(try plan([], nil).plan == nil)
    let error = #expect(throws: HostError.self) { try plan([], nil, .pageCache) }
    #expect(error?.description.contains("--warm-into") ?? false)
    #expect(try plan([scratch("missing")], .off).plan == nil)
  }

  @Test("is also of the disk, where its page cache shall have it")
  func pageCache() throws {
    let trace = try scratch.write("reads", Array("4096 8192\n".utf8))
    #expect(try plan([trace], .wait).plan?.deviceRanges == [])
    let plan = try plan([trace], .wait, .pageCache).plan
    #expect(plan?.deviceRanges == [4096..<12288] && plan?.deviceBytes == 8192 && plan?.localBytes == 8192)
  }

  @Test("is not read into a page cache while that is recorded: the reads of it would be all that is seen")
  func recorded() throws {
    let empty = try scratch.write("empty", [])
    for (record, own) in [(scratch("trace"), nil), (nil, empty)] as [(String?, String?)] {
      var config = try ImageConfig.load(scratch("image/image.json"))
      config.recordTracePath = own
      var options = ServerOptions(
        config: config, device: DeviceOptions(), directory: RunDirectory(path: scratch("run")), remote: RemoteSettings()
      )
      options.recordPath = record
      options.warm.level = .pageCache
      let error = #expect(throws: HostError.self) { _ = try FirstRecording.wanted(options) { _ in } }
      let path = record ?? empty
      #expect(error?.description.contains("recording to \(path) with --warm-into page-cache") ?? false)
    }
  }
}
