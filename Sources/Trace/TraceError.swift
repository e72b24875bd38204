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
  /// A disk or a layer of more bytes than there can be.
  case invalidSize(of: String, UInt64)
  /// An access, counted from 0, that the trace cannot have.
  case invalidAccess(number: Int, problem: String)
  /// Neither one of the traces nor a text that tells of reads; `line` is 0 for a file without any.
  case unknownFormat(line: Int, text: String)
  /// A line of a text, counted from 1.
  case badLine(number: Int, problem: String)
  /// Trace `number`, counted from 0, is not of the same layers or disk as the first.
  case differentStacks(number: Int, found: String, expected: String)
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
    case .invalidSize(let what, let size):
      "trace: it says that \(what) has \(size) bytes, which nothing can have"
    case .invalidAccess(let number, let problem):
      "trace: access \(number) \(problem)"
    case .unknownFormat(0, _):
      "trace: there is nothing in it"
    case .unknownFormat(let line, let text):
      "trace: line \(line) is of no trace: \(text); known are traces of Warmblk and overlaybd, JSON lines, OFFSET LENGTH lines, "
        + "what blkparse prints, and iologs of fio"
    case .badLine(let number, let problem):
      "trace: line \(number): \(problem)"
    case .differentStacks(let number, let found, let expected):
      "trace: number \(number + 1) is of another image, with \(found), the first with \(expected); bring them to one image with "
        + "'warmblk trace convert --config'"
    }
  }
  private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
}
