/// What can be wrong with a compressed blob or its tar wrapping. The caller knows which file it is and says so.
public enum ZFileError: Error, Equatable, Sendable {
  /// Fewer bytes than the structure has.
  case truncated(wanted: Int, found: Int)
  /// The 512 bytes do not begin with ZFile's magic.
  case notZFile
  /// A header where a trailer belongs, or the other way round.
  case wrongRole(wanted: ZFileRecord.Role)
  /// The record is not that of a finished data file: flags as found.
  case notSealedData(flags: UInt32)
  /// The record's own CRC does not match its bytes.
  case digestMismatch(found: UInt32, expected: UInt32)
  /// A codec that nothing writes.
  case unsupportedAlgorithm(UInt8)
  /// The format reserves dictionaries, no writer makes them.
  case unsupportedDictionary(bytes: UInt32)
  /// Not a power of two from 4096 to 65536.
  case invalidBlockSize(UInt32)
  /// The flag that says whether blocks have CRCs is neither 0 nor 1.
  case invalidVerifyFlag(UInt8)
  /// The jump table does not lie inside the file: byte offset, entries, and the file's size in bytes.
  case indexOutOfBounds(offset: UInt64, count: UInt64, fileSize: UInt64)
  /// The jump table has another number of entries than the content has blocks.
  case blockCountMismatch(found: UInt64, expected: UInt64)
  /// The jump table's CRC does not match its bytes.
  case indexChecksumMismatch(found: UInt32, expected: UInt32)
  /// A jump table entry that no block can have, in bytes.
  case invalidStoredLength(block: Int, length: UInt32, allowed: ClosedRange<UInt32>)
  /// The stored blocks do not end where the jump table begins, in bytes.
  case indexOffsetMismatch(found: UInt64, expected: UInt64)
  /// A stored block too short to have content, in bytes.
  case blockTooShort(Int)
  /// A block's CRC does not match its stored bytes.
  case blockChecksumMismatch(found: UInt32, expected: UInt32)
  /// The codec refuses the block.
  case blockCorrupt(Compression)
  /// The block decodes to another length than the format says, in bytes.
  case blockLengthMismatch(found: Int, expected: Int)
  /// A codec's working memory could not be had.
  case outOfMemory(Compression)
  /// A tar header behind the first one is damaged or does not fit in the bytes looked at: its byte offset and what is wrong.
  case malformedTar(offset: Int, problem: TarProblem)
  /// The tar entry claims to end behind the end of the file; in bytes.
  case tarPayloadOutOfBounds(offset: UInt64, size: UInt64, fileSize: UInt64)
}

/// What is wrong with a tar header.
public enum TarProblem: Error, Equatable, Sendable {
  /// Its checksum does not match.
  case checksum
  /// A number field is neither octal nor base-256, or beyond 2^63.
  case number
  /// A pax record does not parse.
  case paxRecord
  /// The headers before the payload are longer than the bytes looked at.
  case tooLong
}

extension ZFileError: CustomStringConvertible {
  /// A sentence for people: what was looked at, what was found and expected.
  public var description: String {
    switch self {
    case .truncated(let wanted, let found):
      "ZFile: \(wanted) bytes are needed and only \(found) are there; the file is incomplete"
    case .notZFile: "ZFile: the magic number is missing; this is no ZFile, or its end is cut off"
    case .wrongRole(let wanted):
      "ZFile: found no \(wanted) where it belongs; the file is incomplete or damaged"
    case .notSealedData(let flags):
      "ZFile: flags 0x\(hex(flags)) are not those of a finished data file; it was not closed by its writer"
    case .digestMismatch(let found, let expected):
      "ZFile: the record's digest is 0x\(hex(found)) and should be 0x\(hex(expected)); fetch the blob again"
    case .unsupportedAlgorithm(let algorithm):
      "ZFile: compression \(algorithm) is not supported; only 1 (lz4) and 2 (zstd) are"
    case .unsupportedDictionary(let bytes):
      "ZFile: the file asks for a dictionary (\(bytes) bytes); dictionaries are not supported"
    case .invalidBlockSize(let size):
      "ZFile: block size \(size) is not a power of two from \(blockSizes.lowerBound) to \(blockSizes.upperBound)"
    case .invalidVerifyFlag(let flag):
      "ZFile: the checksum flag is \(flag), neither 0 nor 1; the record is damaged"
    case .indexOutOfBounds, .blockCountMismatch, .indexChecksumMismatch, .invalidStoredLength,
      .indexOffsetMismatch:
      indexDescription
    case .blockTooShort, .blockChecksumMismatch, .blockCorrupt, .blockLengthMismatch, .outOfMemory:
      blockDescription
    case .malformedTar, .tarPayloadOutOfBounds: tarDescription
    }
  }

  private var indexDescription: String {
    switch self {
    case .indexOutOfBounds(let offset, let count, let fileSize):
      "ZFile: a jump table of \(count) entries at byte \(offset) does not fit in a file of \(fileSize) bytes"
    case .blockCountMismatch(let found, let expected):
      "ZFile: the jump table has \(found) entries, the content has \(expected) blocks"
    case .indexChecksumMismatch(let found, let expected):
      "ZFile: the jump table's CRC is 0x\(hex(found)) and should be 0x\(hex(expected)); fetch the blob again"
    case .invalidStoredLength(let block, let length, let allowed):
      "ZFile: block \(block) is stored in \(length) bytes; only \(allowed.lowerBound) to \(allowed.upperBound) are possible"
    case .indexOffsetMismatch(let found, let expected):
      "ZFile: the blocks end at byte \(found), the jump table begins at byte \(expected)"
    default: ""
    }
  }

  private var blockDescription: String {
    switch self {
    case .blockTooShort(let length): "ZFile: a stored block of \(length) bytes has no content"
    case .blockChecksumMismatch(let found, let expected):
      "ZFile: the block's CRC is 0x\(hex(found)) and should be 0x\(hex(expected)); the stored bytes are damaged"
    case .blockCorrupt(let compression):
      "ZFile: \(compression) cannot decode the block; the stored bytes are damaged"
    case .blockLengthMismatch(let found, let expected):
      "ZFile: the block decodes to \(found) bytes and should have \(expected); the stored bytes are damaged"
    case .outOfMemory(let compression): "ZFile: no memory for a \(compression) context"
    default: ""
    }
  }

  private var tarDescription: String {
    switch self {
    case .malformedTar(let offset, let problem): "tar: the header at byte \(offset) \(problem)"
    case .tarPayloadOutOfBounds(let offset, let size, let fileSize):
      "tar: an entry of \(size) bytes at byte \(offset) does not fit in a file of \(fileSize) bytes; it is incomplete"
    default: ""
    }
  }
}

extension TarProblem: CustomStringConvertible {
  /// The second half of a sentence that begins with the header.
  public var description: String {
    switch self {
    case .checksum: "has a wrong checksum"
    case .number: "has a field that is no number"
    case .paxRecord: "has a malformed pax record"
    case .tooLong: "and those before it are longer than a layer's can be"
    }
  }
}

private func hex(_ value: UInt32) -> String { String(value, radix: 16) }
