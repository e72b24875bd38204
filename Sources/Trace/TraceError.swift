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
      "trace: the records' CRC is 0x\(String(found, radix: 16)) and should be 0x\(String(expected, radix: 16)); record it again"
    case .invalidRange(let record, let offset, let count):
      "trace: record \(record) names \(count) bytes at offset \(offset), which no layer can have"
    }
  }
}
