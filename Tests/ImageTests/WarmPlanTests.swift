import Posix
import TestRegistry
import TestSupport
import Testing
import Trace

@testable import Image

/// From traces to requests.
@Suite("What has to be fetched")
struct WarmPlanTests {
  private static let unit: UInt64 = 1 << 10

  /// A trace of an image from ranges of a layer's file.
  private func trace(_ image: Image, _ ranges: [(time: UInt64, layer: Int, stored: Range<UInt64>)]) -> AccessTrace {
    var trace = image.emptyTrace()
    trace.accesses = ranges.map {
      TraceAccess(microseconds: $0.time, device: 0..<0, layer: $0.layer, stored: $0.stored)
    }
    trace.sortByTime()
    return trace
  }

  private func plan(_ image: Image, _ ranges: (UInt64, Range<UInt64>)...) -> [WarmPlan.Request] {
    WarmPlan([trace(image, ranges.map { ($0.0, 0, $0.1) })], for: image).requests
  }

  private func request(_ time: UInt64, _ range: Range<UInt64>) -> WarmPlan.Request {
    WarmPlan.Request(layer: 0, range: range, microseconds: time)
  }

  @Test("ranges are whole KiB, each once, and small gaps between them come along")
  func ranges() throws {
    let setup = try RegistryImage(writes: 500)
    let image = try setup.open()
    let size = image.layers[0].blob.fileSize
    try #require(size > 1 << 20 + 4096)
    #expect(plan(image) == [])
    #expect(plan(image, (5, 1..<2)) == [request(5, 0..<1024)])
    #expect(plan(image, (5, 1023..<1025)) == [request(5, 0..<2048)])
    // Overlapping, and the same twice.
    #expect(plan(image, (5, 0..<4096), (6, 2048..<8192), (7, 0..<4096)) == [request(5, 0..<8192)])
    // A gap of 4 KiB, and one of 5.
    #expect(plan(image, (9, 0..<1024), (5, 5120..<6144)) == [request(5, 0..<6144)])
    #expect(plan(image, (9, 0..<1024), (5, 6144..<7168)) == [request(5, 6144..<7168), request(9, 0..<1024)])
    // 1 MiB, and a bit more.
    #expect(plan(image, (5, 0..<1 << 20)) == [request(5, 0..<1 << 20)])
    #expect(plan(image, (5, 0..<1 << 20 + 1)) == [request(5, 0..<1 << 20), request(5, 1 << 20..<1 << 20 + 1024)])
    #expect(
      plan(image, (5, 0..<1 << 20 - 1024), (6, 1 << 20..<1 << 20 + 1024)) == [
        request(5, 0..<1 << 20 - 1024), request(6, 1 << 20..<1 << 20 + 1024),
      ])
    // The file's end, beyond it, and far beyond it.
    let last = (size - 1) / 1024 * 1024
    #expect(plan(image, (5, size - 1..<size + 70_000)) == [request(5, last..<size)])
    #expect(plan(image, (5, size..<size + 1), (6, 1 << 62..<1 << 62 + 4096)) == [])
  }

  @Test("requests have every byte that is named once, are due when the first of it is, and waste little")
  func model() throws {
    var random = SplitMix.announced("warm plans")
    let setup = try RegistryImage()
    let image = try setup.open()
    for _ in 0..<30 {
      let traces = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        trace(
          image,
          (0..<Int.random(in: 0...150, using: &random)).map { _ in
            let layer = Int.random(in: 0..<3, using: &random)
            let start = UInt64.random(in: 0..<image.layers[layer].blob.fileSize + 5000, using: &random)
            let length = UInt64.random(in: 1...(Bool.random(using: &random) ? 8000 : 600_000), using: &random)
            return (UInt64.random(in: 0...1000, using: &random), layer, start..<start + length)
          })
      }
      check(WarmPlan(traces, for: image), traces, image)
    }
  }

  private func check(_ plan: WarmPlan, _ traces: [AccessTrace], _ image: Image) {
    // The slow way: for each unit, when it is wanted first.
    var first = image.layers.map { [UInt64](repeating: .max, count: Int($0.blob.fileSize / Self.unit) + 1) }
    for access in traces.flatMap(\.accesses) {
      let layer = access.layer!
      let stored = access.stored.clamped(to: 0..<image.layers[layer].blob.fileSize)
      if stored.isEmpty { continue }
      for unit in Int(stored.lowerBound / Self.unit)...Int((stored.upperBound - 1) / Self.unit) {
        first[layer][unit] = min(first[layer][unit], access.microseconds)
      }
    }
    var asked = first.map { $0.map { _ in 0 } }
    for request in plan.requests {
      #expect(request.range.count <= 1 << 20 && request.range.upperBound <= image.layers[request.layer].blob.fileSize)
      let units = Int(request.range.lowerBound / Self.unit)..<Int((request.range.upperBound + 1023) / Self.unit)
      for unit in units { asked[request.layer][unit] += 1 }
      let times = first[request.layer][units]
      #expect(times.min() == request.microseconds && times.first != .max && times.last != .max)
      let gap = times.split { $0 != .max }.map(\.count).max() ?? 0
      #expect(gap <= 4, "\(gap) KiB that nobody wants")
    }
    for layer in first.indices {
      #expect(asked[layer].allSatisfy { $0 <= 1 })
      #expect(zip(first[layer], asked[layer]).allSatisfy { $0 == .max || $1 == 1 })
    }
    #expect(zip(plan.requests, plan.requests.dropFirst()).allSatisfy { $0.microseconds <= $1.microseconds })
    let wanted = image.layers.indices.reduce(UInt64(0)) { sum, layer in
      let size = image.layers[layer].blob.fileSize
      return first[layer].indices.reduce(sum) {
        first[layer][$1] == .max ? $0 : $0 + min(Self.unit, size - UInt64($1) * Self.unit)
      }
    }
    #expect(plan.remoteBytes == wanted && plan.localBytes == 0)
  }

  @Test("layers that are files of this machine are counted, and not fetched")
  func local() throws {
    let setup = try RegistryImage()
    setup.config.lowers[1] = .init(dir: setup.scratch("1"))
    let image = try setup.open()
    let made = try image.trace(of: [DeviceRead(microseconds: 0, range: 0..<image.virtualSize)])
    let plan = WarmPlan([made.trace], for: image)
    #expect(Set(plan.requests.map(\.layer)) == [0, 2])
    #expect(plan.localBytes > 0 && plan.remoteBytes > 0)
    let whole = WarmPlan([made.trace], for: try setup.openLocal())
    #expect(whole.requests.isEmpty && whole.remoteBytes == 0)
  }

  @Test("a trace finds its layers in another order, and what the image does not have is left out and said")
  func otherStacks() throws {
    let setup = try RegistryImage()
    let image = try setup.open()
    let trace = try image.trace(of: [DeviceRead(microseconds: 3, range: 0..<image.virtualSize)]).trace
    func bytes(_ plan: WarmPlan, _ config: ImageConfig) -> [String: UInt64] {
      plan.requests.reduce(into: [:]) { $0[config.lowers[$1.layer].digest!, default: 0] += UInt64($1.range.count) }
    }
    let expected = bytes(WarmPlan([trace], for: image), setup.config)
    #expect(expected.count == 3)
    var turned = setup.config
    turned.lowers.reverse()
    let other = try Image.open(config: turned, remote: setup.settings)
    let moved = try other.trace(of: trace)
    #expect(moved.notes.isEmpty && bytes(WarmPlan([moved.trace], for: other), turned) == expected)
    var fewer = setup.config
    fewer.lowers.remove(at: 1)
    let part = try Image.open(config: fewer, remote: setup.settings)
    let rest = try part.trace(of: trace)
    #expect(rest.notes.count == 1 && rest.notes.first?.contains("does not have") == true)
    let left = bytes(WarmPlan([rest.trace], for: part), fewer)
    #expect(left == expected.filter { $0.key != setup.digests[1] })
  }

  @Test("every part of the disk that was read is named once for its page cache, also where small blocks share a KiB")
  func device() throws {
    let scratch = try Scratch(inMemory: true)
    try scratch.write("raw", [UInt8](repeating: 7, count: 1 << 20))
    var options = ImportOptions(source: scratch("raw"), directory: scratch("a"))
    options.compression = .lz4
    let image = try Image.open(configPath: try Importer.run(options).configPath)
    let reads = [4096..<8192, 65536..<131072, 12288..<16384, 69632..<73728] as [Range<UInt64>]
    let traces = try reads.enumerated().map { number, range in
      try image.trace(of: [DeviceRead(microseconds: UInt64(9 - number), range: range)]).trace
    }
    let plan = WarmPlan(traces, for: image, includesDevice: true)
    // What was named twice is due when it was wanted first.
    #expect(plan.deviceRanges == [reads[1], reads[2], reads[0]] && plan.deviceBytes == 73728)
    #expect(plan.ranges < 18, "so small that they share: \(plan.ranges)")
    #expect(WarmPlan(traces, for: image).deviceRanges == [])
  }

  @Test("for a page cache each page that is named is named once, and no other, to the odd end of the disk")
  func pages() {
    var random = SplitMix.announced("pages of traces")
    for _ in 0..<200 {
      let size = UInt64.random(in: 1...400_000, using: &random)
      let pages = Int((size + 4095) / 4096)
      var first = [UInt64](repeating: .max, count: pages)
      let traces = (0..<Int.random(in: 0...3, using: &random)).map { _ in
        let accesses = (0..<Int.random(in: 0...40, using: &random)).map { _ in
          let start = UInt64.random(in: 0...size, using: &random)
          let end = UInt64.random(in: start...start + 20_000, using: &random)
          let time = UInt64.random(in: 0...1000, using: &random)
          if start < min(end, size) {
            for page in Int(start / 4096)...Int((min(end, size) - 1) / 4096) { first[page] = min(first[page], time) }
          }
          return TraceAccess(microseconds: time, device: start..<end, layer: 0, stored: 0..<1)
        }
        return AccessTrace(imageName: "", deviceSize: size, layers: [], accesses: accesses)
      }
      let ranges = WarmPlan.deviceRanges(traces, deviceSize: size)
      var times = [Int](repeating: 0, count: pages)
      for range in ranges {
        #expect(range.lowerBound % 4096 == 0 && (range.upperBound % 4096 == 0 || range.upperBound == size))
        for page in Int(range.lowerBound / 4096)..<Int((range.upperBound + 4095) / 4096) { times[page] += 1 }
      }
      #expect(zip(first, times).allSatisfy { $0 == .max ? $1 == 0 : $1 == 1 })
      // A range is due when its first page is.
      let due = ranges.map { first[Int($0.lowerBound / 4096)..<Int(($0.upperBound + 4095) / 4096)].min()! }
      #expect(due == due.sorted())
    }
  }

  @Test("ten million accesses are seconds")
  func many() throws {
    let setup = try RegistryImage()
    let image = try setup.open()
    var trace = image.emptyTrace()
    var random = SplitMix.announced("ten million accesses")
    let some = (0..<100_000).map { number in
      let start = random.next() % (1 << 20)
      return TraceAccess(
        microseconds: 7, device: start..<start + 4096, layer: number % 3, stored: start..<start + 4096)
    }
    for _ in 0..<100 { trace.accesses += some }
    try #require(trace.accesses.count == 10_000_000)
    let began = monotonicNanoseconds()
    let plan = WarmPlan([trace], for: image)
    let took = Double(monotonicNanoseconds() - began) / 1e9
    print("a plan of \(trace.accesses.count) accesses: \(took) s, \(plan.requests.count) requests")
    // Without optimization; with it, it is a tenth.
    #expect(took < 60)
    #expect(plan.requests.count < 10 && plan.remoteBytes == image.layers.reduce(0) { $0 + $1.blob.fileSize })
  }
}
