import Trace
import ZFile

/// Traces, as they are and with the checksum and the size set right, which no mutation would get right.
enum TheFuzzer: Fuzzer {
  private static let unit = 24

  static func run(_ input: [UInt8]) {
    parse(input)
    if input.count >= unit { parse(repaired(input)) }
  }

  private static func parse(_ bytes: [UInt8]) {
    do throws(TraceError) {
      let records = try OverlaybdTrace(parsing: bytes.span.bytes).records
      require(OverlaybdTrace.isTrace(prefix: bytes.span.bytes), "parsed, although it does not claim to be a trace")
      require(unit * (records.count + 1) == bytes.count, "\(records.count) records in \(bytes.count) bytes")
      for record in records {
        require(record.offset <= UInt64(Int64.max) - record.count, "\(record) ends beyond any file")
      }
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  private static func repaired(_ input: [UInt8]) -> [UInt8] {
    var bytes = input
    bytes.store(UInt32(0xC2EF_1820), at: 0)
    bytes.store(UInt64(bytes.count - unit), at: 8)
    let checksum = bytes.withUnsafeBytes { crc32cRaw(UnsafeRawBufferPointer(rebasing: $0[unit...]), seed: 0) }
    bytes.store(checksum, at: 16)
    return bytes
  }

  static func seeds() -> [[UInt8]] {
    [0, 1, 2, 40].map { (count: Int) in
      var bytes = [UInt8](repeating: 0, count: unit * (count + 1))
      for record in 0..<count {
        let start = unit * (record + 1)
        bytes[start] = UInt8(ascii: record % 5 == 4 ? "W" : "R")
        bytes.store(UInt32(record % 3), at: start + 4)
        bytes.store(UInt64(4096 * (record + 1)), at: start + 8)
        bytes.store(UInt64(8192 * record), at: start + 16)
      }
      return repaired(bytes)
    }
  }
}
