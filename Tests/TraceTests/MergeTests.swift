import TestSupport
import Testing

@testable import Trace

@Suite("Several traces as one")
struct MergeTests {
  @Test("merging says of each byte what a slow model says")
  func model() throws {
    var random = SplitMix.announced("merges")
    for round in 0..<400 {
      let traces = (0..<Int.random(in: 1...4, using: &random)).map { _ in
        random.trace(
          accesses: Int.random(in: 0...40, using: &random), runs: UInt32.random(in: 1...3, using: &random))
      }
      let minRuns = UInt32.random(in: 1...4, using: &random)
      var expected: [Byte: Fate] = [:]
      for trace in traces {
        expected.merge(trace.bytes()) { earlier, later in
          Fate(
            time: min(earlier.time, later.time), runs: earlier.runs + later.runs, layer: earlier.layer,
            stored: earlier.stored)
        }
      }
      let merged = try AccessTrace.merging(traces, minRuns: minRuns)
      #expect(merged.bytes() == expected.filter { $0.value.runs >= minRuns }, "round \(round)")
      // Each byte once, in order, and what a file can hold.
      let count = merged.accesses.reduce(0) { $0 + ($1.device.isEmpty ? $1.stored.count : $1.device.count) }
      #expect(count == merged.bytes().count)
      try merged.validate()
      #expect(merged.runs == traces.reduce(0) { $0 + $1.runs })
      #expect(merged.durationMicroseconds == traces.map(\.durationMicroseconds).max())
    }
  }

  @Test("it does not matter in which order and in which steps traces are merged")
  func associative() throws {
    var random = SplitMix.announced("merges of merges")
    for _ in 0..<100 {
      let traces = (0..<4).map { _ in random.trace(accesses: 30) }
      let whole = try AccessTrace.merging(traces).bytes()
      let halves = try AccessTrace.merging([
        try AccessTrace.merging([traces[3], traces[1]]), try AccessTrace.merging([traces[0], traces[2]]),
      ])
      #expect(halves.bytes() == whole)
    }
  }

  @Test("what was one access and is used alike stays one, in its place")
  func order() throws {
    func access(_ start: UInt64, _ end: UInt64) -> TraceAccess {
      TraceAccess(microseconds: 0, device: start..<end, layer: nil, stored: 0..<0)
    }
    var trace = AccessTrace(
      imageName: "", deviceSize: 100, layers: [], accesses: [access(50, 60), access(0, 20), access(10, 55)])
    trace.keepFirstTouches()
    #expect(trace.accesses == [access(50, 60), access(0, 20), access(20, 50)])
    let twice = try AccessTrace.merging([trace, trace])
    #expect(twice.accesses.map(\.device) == [50..<60, 0..<20, 20..<50])
    #expect(twice.accesses.allSatisfy { $0.runs == 2 } && twice.runs == 2)
  }

  @Test("traces of other stacks are refused, and the difference is named")
  func otherStacks() {
    var random = SplitMix(state: 1)
    let trace = random.trace(accesses: 3)
    func problem(_ change: (inout AccessTrace) -> Void) -> String? {
      var other = trace
      change(&other)
      do throws(TraceError) {
        _ = try AccessTrace.merging([trace, trace, other])
        return nil
      } catch { return error.description }
    }
    #expect(problem { _ in } == nil)
    #expect(problem { $0.deviceSize = 1000 }?.contains("number 3 is of another image, with a disk of 1000") == true)
    #expect(problem { $0.layers.removeLast() }?.contains("2 layers") == true)
    #expect(problem { $0.layers[1].size = 9 }?.contains("sha256:b of 9 bytes as layer 1") == true)
    #expect(problem { $0.runs = .max }?.contains("runs") == true)
  }
}

@Suite("Differences, totals and trimming")
struct TrimTests {
  @Test("differences and totals count stored bytes once, as a slow model does")
  func model() {
    var random = SplitMix.announced("differences")
    for _ in 0..<200 {
      let (a, b) = (random.trace(accesses: 25), random.trace(accesses: 25))
      let (left, right) = (storedBytes(a), storedBytes(b))
      let difference = TraceDifference(a, b)
      #expect(difference.both == UInt64(left.intersection(right).count))
      #expect(difference.onlyFirst == UInt64(left.subtracting(right).count))
      #expect(difference.onlySecond == UInt64(right.subtracting(left).count))
      let totals = TraceTotals(a, slices: 7)
      #expect(totals.bytes == UInt64(left.count))
      #expect(totals.slices.reduce(0) { $0 + $1.bytes } == totals.bytes && totals.slices.count <= 7)
      #expect(totals.deviceBytes == UInt64(Set(a.accesses.flatMap { $0.device }).count))
      for (number, share) in totals.layers.enumerated() {
        #expect(share.bytes == UInt64(left.filter { $0.layer == (number < 3 ? number : nil) }.count))
      }
      let times = a.storedTouches().map(\.microseconds)
      #expect(totals.half <= totals.mostly && totals.mostly <= totals.all && totals.all == times.last ?? 0)
    }
  }

  @Test("trimming drops what all reports waste, and adds what one misses")
  func trimming() throws {
    var random = SplitMix.announced("trimming")
    for _ in 0..<200 {
      let trace = random.trace(accesses: 25)
      let reports = (0..<Int.random(in: 1...3, using: &random)).map { _ in
        GradeReport(wasted: parts(&random), untraced: parts(&random))
      }
      let minimum = Int.random(in: 1...reports.count, using: &random)
      let trimming = try trace.trimmed(by: reports, wastedIn: minimum)
      try trimming.trace.validate()
      func count(_ byte: Byte, _ parts: KeyPath<GradeReport, [GradeReport.Part]>) -> Int {
        reports.count { report in
          report[keyPath: parts].contains { part in
            byte.layer.map { trace.layers[$0].identity } == part.layer && part.stored.contains(byte.offset)
          }
        }
      }
      let before = storedBytes(trace)
      let after = storedBytes(trimming.trace)
      for byte in before.subtracting(after) { #expect(count(byte, \.wasted) >= minimum) }
      for byte in after.subtracting(before) { #expect(count(byte, \.untraced) > 0) }
      #expect(trimming.dropped == UInt64(before.subtracting(after).count))
      #expect(trimming.added == UInt64(after.subtracting(before).count))
      // What stays although it was wasted is a part of a block that was not, or somebody missed it.
      for byte in before.intersection(after) where count(byte, \.wasted) >= minimum && count(byte, \.untraced) == 0 {
        let needed = trace.accesses.contains { access in
          access.layer == byte.layer && byte.layer != 1 && !access.device.isEmpty && access.stored.contains(byte.offset)
            && access.stored.contains {
              count(Byte(layer: byte.layer, isDevice: false, offset: $0), \.wasted) < minimum
            }
        }
        #expect(needed)
      }
      for layer in 0..<3 {
        for offset in 0..<UInt64(90) {
          let byte = Byte(layer: layer, isDevice: false, offset: offset)
          let isThere = after.contains(byte)
          if count(byte, \.untraced) > 0 { #expect(isThere, "\(byte)") }
        }
      }
    }
  }

  private func parts(_ random: inout SplitMix) -> [GradeReport.Part] {
    (0..<Int.random(in: 0...6, using: &random)).map { _ in
      let start = UInt64.random(in: 0..<80, using: &random)
      return GradeReport.Part(
        layer: ["sha256:a", "sha256:b", "uuid:c", "sha256:of another image"].randomElement(using: &random)!,
        stored: start..<start + UInt64.random(in: 1...20, using: &random),
        microseconds: UInt64.random(in: 0..<50, using: &random))
    }
  }

  /// The slow way: bytes of layers as stored, of the disk where no layer is known.
  private func storedBytes(_ trace: AccessTrace) -> Set<Byte> {
    var found = Set<Byte>()
    for access in trace.accesses {
      for offset in access.layer == nil ? access.device : access.stored {
        found.insert(Byte(layer: access.layer, isDevice: access.layer == nil, offset: offset))
      }
    }
    return found
  }
}
