import Posix
import Testing
import Trace

/// A trace that was recorded, as a test looks at it.
struct TraceFile {
  let trace: AccessTrace

  init(_ path: String) throws {
    let bytes = try readFile(path)
    trace = try AccessTrace(parsing: bytes.span.bytes)
  }

  /// Parses a trace of overlaybd.
  static func overlaybd(_ path: String) throws -> OverlaybdTrace {
    let bytes = try readFile(path)
    return try OverlaybdTrace(parsing: bytes.span.bytes)
  }

  /// The parts of the disk, sorted and joined.
  var device: [Range<UInt64>] { Self.joined(trace.accesses.map(\.device)) }

  /// Bytes of the disk.
  var bytes: UInt64 { device.reduce(0) { $0 + UInt64($1.count) } }

  func covers(_ range: Range<UInt64>) -> Bool {
    device.contains { $0.lowerBound <= range.lowerBound && range.upperBound <= $0.upperBound }
  }

  static func joined(_ ranges: [Range<UInt64>]) -> [Range<UInt64>] {
    ranges.sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { result, range in
      if let last = result.last, last.upperBound >= range.lowerBound {
        result[result.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        result.append(range)
      }
    }
  }
}

extension Warmblk {
  /// What `trace stop --json` says.
  struct Report: Decodable {
    var path: String
    var accesses: Int
    var bytes: UInt64
    var milliseconds: UInt64
    var lost: UInt64
    var fileBytes: Int
    var reason: String
  }

  static func startRecording(_ disk: Disk, _ path: String, _ words: String...) throws {
    let outcome = try start(["trace", "start", "-n", "\(disk.id)", "-o", path] + words).wait(seconds: 20)
    try #require(outcome.succeeded && outcome.output.isEmpty && outcome.errors.isEmpty, "\(outcome)")
  }

  static func stopRecording(_ disk: Disk) throws -> Report {
    let outcome = try run("trace", "stop", "-n", "\(disk.id)", "--json")
    try #require(outcome.succeeded, "\(outcome)")
    return try decoded(outcome.output)
  }
}
