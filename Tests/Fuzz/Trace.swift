import Trace
import ZFile

/// Traces, ours and overlaybd's, as they are and with checksums and sizes set right, which no mutation would get right;
/// and what other tools record, as text.
enum TheFuzzer: Fuzzer {
  private static let unit = 24
  private static let headerSize = 80

  static func run(_ input: [UInt8]) {
    parseOverlaybd(input)
    if input.count >= unit { parseOverlaybd(repairedOverlaybd(input)) }
    parse(input)
    if input.count >= headerSize { parse(repaired(input)) }
    parseText(input)
  }

  private static func parseOverlaybd(_ bytes: [UInt8]) {
    do throws(TraceError) {
      let trace = try OverlaybdTrace(parsing: bytes.span.bytes)
      require(OverlaybdTrace.isTrace(prefix: bytes.span.bytes), "parsed, although it does not claim to be a trace")
      require(unit * (trace.records.count + 1) == bytes.count, "\(trace.records.count) records in \(bytes.count) bytes")
      for record in trace.records {
        require(record.offset <= UInt64(Int64.max) - record.count, "\(record) ends beyond any file")
      }
      // One of 2^63 bytes would be written as 2^43 records.
      if trace.records.allSatisfy({ $0.count <= 64 << 20 }) {
        let written = trace.encoded()
        let again = try OverlaybdTrace(parsing: written.span.bytes)
        require(again.encoded() == written, "written, and read as something else")
      }
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  private static func parse(_ bytes: [UInt8]) {
    do throws(TraceError) {
      let trace = try AccessTrace(parsing: bytes.span.bytes)
      let written = try trace.encoded()
      require(written == bytes, "read, and written as other bytes")
      use(trace)
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  /// What commands do with a trace that could be read.
  private static func use(_ trace: AccessTrace) {
    do throws(TraceError) {
      var once = trace
      once.keepFirstTouches()
      try once.validate()
      // A trace that says of the same place on the disk that it is stored here and there is believed the first time.
      let totals = TraceTotals(once)
      require(totals.deviceBytes == TraceTotals(trace).deviceBytes, "first touches are not all that is touched")
      let map = HeatMap(trace, columns: 8, rows: 4)
      require(map.text().count == 4, "a map without rows")
      let difference = TraceDifference(trace, once)
      require(difference.onlySecond == 0, "first touches are other bytes")
      var lines: [UInt8] = []
      trace.forEachJSONLine { lines += Array($0.utf8) }
      let again = try AccessTrace(parsingJSON: lines.span.bytes)
      require(again == trace, "JSON says something else")
      if trace.runs < 1 << 30 {
        let merged = try AccessTrace.merging([trace, trace])
        require(TraceTotals(merged).bytes == totals.bytes, "merged with itself it is something else")
      }
    } catch {
      fatalError("\(error)")
    }
  }

  private static func parseText(_ bytes: [UInt8]) {
    do throws(TraceError) {
      let format = try TraceFormat(prefix: bytes.span.bytes)
      switch format {
      case .warmblk, .overlaybd: break
      case .json: try AccessTrace(parsingJSON: bytes.span.bytes).validate()
      case .ranges, .blkparse, .iolog:
        for read in try DeviceReads(parsing: bytes.span.bytes, as: format).reads {
          require(!read.range.isEmpty && read.range.upperBound <= Int64.max, "\(read) is beyond any disk")
        }
      }
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  private static func repairedOverlaybd(_ input: [UInt8]) -> [UInt8] {
    var bytes = input
    bytes.store(UInt32(0xC2EF_1820), at: 0)
    bytes.store(UInt64(bytes.count - unit), at: 8)
    let checksum = bytes.withUnsafeBytes { crc32cRaw(UnsafeRawBufferPointer(rebasing: $0[unit...]), seed: 0) }
    bytes.store(checksum, at: 16)
    return bytes
  }

  private static func repaired(_ input: [UInt8]) -> [UInt8] {
    var bytes = input
    bytes.replaceSubrange(0..<8, with: Array("WBTRACE\n".utf8))
    bytes.store(UInt32(1), at: 8)
    bytes.store(UInt32(headerSize), at: 12)
    bytes.store(UInt64(bytes.count - headerSize), at: 56)
    bytes.store(UInt64(0), at: 68)
    let body = bytes.withUnsafeBytes { ~crc32cRaw(UnsafeRawBufferPointer(rebasing: $0[headerSize...]), seed: ~0) }
    bytes.store(body, at: 64)
    let header = bytes.withUnsafeBytes { ~crc32cRaw(UnsafeRawBufferPointer(rebasing: $0[..<76]), seed: ~0) }
    bytes.store(header, at: 76)
    return bytes
  }

  static func seeds() -> [[UInt8]] {
    let texts = [
      "# bytes\n0 4096\n8192 512\n", "fio version 3 iolog\n1 /f open\n2 /f read 0 512\n",
      "fio version 2 iolog\n/f wait 7 0\n/f read 0 512\n",
      "  7,0    0        1     0.000000000   141  Q  RS 512 + 128 [dd]\nCPU0 (t):\n",
    ]
    return overlaybdSeeds() + ourSeeds() + texts.map { Array($0.utf8) }
  }

  private static func overlaybdSeeds() -> [[UInt8]] {
    var seeds: [[UInt8]] = []
    for count in [0, 1, 40] {
      var records: [OverlaybdTrace.Record] = []
      for number in 0..<UInt64(count) {
        let operation: OverlaybdTrace.Operation = number % 5 == 4 ? .write : .read
        records.append(
          .init(operation: operation, layer: UInt32(number % 3), offset: 8192 * number, count: 4096 * (number + 1)))
      }
      seeds.append(OverlaybdTrace(records: records).encoded())
    }
    return seeds
  }

  private static func ourSeeds() -> [[UInt8]] {
    var seeds: [[UInt8]] = []
    for count in [0, 1, 40] {
      var trace = AccessTrace(
        imageName: "web", deviceSize: 1 << 30,
        layers: [
          TraceLayer(identity: "sha256:a", size: 1 << 20, isCompressed: true),
          TraceLayer(identity: "uuid:b", size: 1 << 30, isCompressed: false),
        ], runs: 3, durationMicroseconds: 5000, recordedAt: 1_800_000_000)
      for number in 0..<count { trace.accesses.append(access(number)) }
      guard let bytes = try? trace.encoded() else { fatalError("a seed that is no trace") }
      seeds.append(bytes)
      var lines: [UInt8] = []
      trace.forEachJSONLine { lines += Array($0.utf8) }
      seeds.append(lines)
    }
    return seeds
  }

  /// Of the disk and a layer, of a layer only, of the disk only.
  private static func access(_ number: Int) -> TraceAccess {
    let start = UInt64(number) * 8192
    let hasLayer = number % 5 != 4
    return TraceAccess(
      microseconds: UInt64(number) * 100, device: number % 7 == 6 && hasLayer ? 0..<0 : start..<start + 4096,
      layer: hasLayer ? number % 2 : nil, stored: hasLayer ? start..<start + 4096 : 0..<0, runs: UInt32(number % 3) + 1)
  }
}
