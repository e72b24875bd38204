/// The 512 bytes at the start and at the end of a ZFile (overlaybd ZFile format, version 1).
///
/// Little-endian. Only these bytes have a meaning; old writers left junk in all others, so they are never looked at:
///
///     0   8  "ZFile\0\1\0"         48  8  jump table entries
///     8  16  "tuji.yyf@Alibaba"    56  8  content size, bytes
///     24  4  96                    64  4  CRC of the jump table
///     28  4  digest                72  4  block size, bytes
///     32  8  flags                 76  1  codec       78  1  has a dictionary
///     40  8  jump table offset     84  4  dictionary size      88  1  blocks have CRCs
public struct ZFileRecord: Equatable, Sendable {
  /// Bytes of a record.
  public static let size = 512

  /// Which of a file's two records it is.
  public enum Role: Sendable {
    /// At byte 0.
    case header
    /// The last 512 bytes.
    case trailer
  }

  /// Bits of the flags word that have a meaning; old writers left junk in the others.
  struct Flags: OptionSet, Equatable, Sendable {
    let rawValue: UInt32
    static let header = Flags(rawValue: 1 << 0)
    static let data = Flags(rawValue: 1 << 1)
    static let sealed = Flags(rawValue: 1 << 2)
    static let overwritten = Flags(rawValue: 1 << 3)
    static let digest = Flags(rawValue: 1 << 4)
    static let all = Flags(rawValue: 0b11111)
  }

  var flags: Flags
  /// Header or trailer.
  public var role: Role { flags.contains(.header) ? .header : .trailer }
  /// Whether the header says where the jump table is, so that the trailer need not be read.
  public var isHeaderOverwritten: Bool { flags.contains(.overwritten) }
  /// Whether the record and the jump table have CRCs. Files of old writers have none.
  public var hasDigest: Bool { flags.contains(.digest) }

  /// Where the jump table begins and the blocks end, in bytes.
  public let indexOffset: UInt64
  /// Entries of the jump table, which is the number of blocks.
  public let indexCount: UInt64
  /// Bytes of content.
  public let originalSize: UInt64
  /// CRC of the jump table's bytes; has a meaning only with `hasDigest`.
  public let indexChecksum: UInt32
  /// Bytes of content in every block but the last.
  public let blockSize: UInt32
  /// The blocks' codec.
  public let compression: Compression
  /// Whether each block is followed by a CRC.
  public let hasChecksums: Bool

  /// The 24 bytes that begin a ZFile.
  public static let magic: [UInt8] =
    [0x5A, 0x46, 0x69, 0x6C, 0x65, 0x00, 0x01, 0x00] + Array("tuji.yyf@Alibaba".utf8)

  /// Byte offsets of the fields.
  enum Field {
    static let size = 24
    static let digest = 28
    static let flags = 32
    static let indexOffset = 40
    static let indexCount = 48
    static let originalSize = 56
    static let indexChecksum = 64
    static let blockSize = 72
    static let algorithm = 76
    static let usesDictionary = 78
    static let dictionarySize = 84
    static let verify = 88
  }
}
