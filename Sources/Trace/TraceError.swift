/// What can be wrong with a trace. The caller knows which file it is and says so.
public enum TraceError: Error, Equatable, Sendable {
  /// The magic number is missing: not a trace, perhaps a list of paths.
  case notTrace
  /// The header speaks of other bytes of records than there are.
  case sizeMismatch(found: UInt64, expected: UInt64)
  /// The size is no multiple of a record's, in bytes.
  case partialRecord(size: UInt64)
  /// The CRC over all records is wrong.
  case checksumMismatch(found: UInt32, expected: UInt32)
  /// A record whose range no file can have.
  case invalidRange(record: Int, offset: Int64, count: UInt64)
  /// The magic of our own traces is missing.
  case notAccessTrace
  /// A version that this program does not know.
  case unsupportedVersion(UInt32)
  /// The file ends within its header, bytes.
  case headerTruncated(found: Int, expected: Int)
  /// The header's CRC is wrong.
  case headerChecksumMismatch(found: UInt32, expected: UInt32)
  /// There are more or fewer bytes behind the header than it says.
  case bodySizeMismatch(found: UInt64, expected: UInt64)
  /// The CRC of what is behind the header is wrong.
  case bodyChecksumMismatch(found: UInt32, expected: UInt32)
  /// More of something than a trace may have.
  case tooMany(_ what: String, count: UInt64, limit: Int)
  /// A name or an identity of more than `limit` bytes.
  case textTooLong(_ text: String, limit: Int)
  /// Something that is not as the format says, at this byte of the file.
  case malformed(offset: Int, problem: String)
  /// An access, counted from 0, that the trace cannot have.
  case invalidAccess(number: Int, problem: String)
}

extension TraceError: CustomStringConvertible {
  /// A sentence for people: what was looked at, what was found and expected.
  public var description: String {
    switch self {
    case .notTrace: "trace: the magic number is missing; this is no binary trace, or a list of paths"
    case .sizeMismatch(let found, let expected):
      "trace: \(found) bytes of records are there and the header speaks of \(expected); the file is incomplete or damaged"
    case .partialRecord(let size):
      "trace: \(size) bytes are not a whole number of records; the header is damaged"
    case .checksumMismatch(let found, let expected):
      "trace: the records' CRC is \(hex(found)) and should be \(hex(expected)); record it again"
    case .invalidRange(let record, let offset, let count):
      "trace: record \(record) names \(count) bytes at offset \(offset), which no layer can have"
    case .notAccessTrace:
      "trace: it does not begin with WBTRACE; this is no trace of Warmblk"
    case .unsupportedVersion(let version):
      "trace: it is of version \(version) and this program knows version \(TraceHeader.version); use the one that wrote it"
    case .headerTruncated(let found, let expected):
      "trace: \(found) bytes are there, the header alone has \(expected); the file is incomplete"
    case .headerChecksumMismatch(let found, let expected):
      "trace: the header's CRC is \(hex(found)) and should be \(hex(expected)); the file is damaged, record it again"
    case .bodySizeMismatch(let found, let expected):
      "trace: \(found) bytes are behind the header and it speaks of \(expected); the file is incomplete or has grown"
    case .bodyChecksumMismatch(let found, let expected):
      "trace: the CRC behind the header is \(hex(found)) and should be \(hex(expected)); the file is damaged, record it again"
    case .tooMany(let what, let count, let limit):
      "trace: \(count) \(what), the limit is \(limit); record a shorter time"
    case .textTooLong(let text, let limit):
      "trace: the name \(text.prefix(40))… has \(text.utf8.count) bytes, the limit is \(limit)"
    case .malformed(let offset, let problem):
      "trace: byte \(offset): \(problem); the file was not written by Warmblk, or is damaged"
    case .invalidAccess(let number, let problem):
      "trace: access \(number) \(problem)"
    }
  }
  private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
}
