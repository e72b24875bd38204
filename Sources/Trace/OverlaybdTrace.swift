import ZFile

/// A recorded I/O trace (overlaybd's binary trace): which reads an image's layers answered, in order of completion.
///
/// Little-endian; the padding may hold anything and is covered by the CRC:
///
///     header                            each record
///     0  4  0xC2EF1820                  0  1  'R' or 'W', 3 bytes of padding
///     8  8  bytes of records            4  4  layer, 0 = bottom
///     16 4  CRC of the records          8  8  bytes
///                                       16 8  offset, bytes
///
/// It does not say which image it belongs to.
public struct OverlaybdTrace: Equatable, Sendable {
  /// One read.
  public struct Record: Equatable, Sendable {
    /// What was done, as stored.
    public let operation: Operation
    /// Which layer, 0 being the bottom one.
    public let layer: UInt32
    /// Where, in bytes of the layer's uncompressed file: its header, data, index and trailer.
    public let offset: UInt64
    /// How much, in bytes.
    public let count: UInt64

    /// A record by its parts.
    public init(operation: Operation = .read, layer: UInt32, offset: UInt64, count: UInt64) {
      self.operation = operation
      self.layer = layer
      self.offset = offset
      self.count = count
    }
  }

  /// The kind of a record.
  public struct Operation: RawRepresentable, Equatable, Sendable {
    /// The stored byte.
    public let rawValue: UInt8
    /// Any byte; only `read` means something to a replay.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// 'R'.
    public static let read = Operation(rawValue: UInt8(ascii: "R"))
    /// 'W': declared by the format, never written.
    public static let write = Operation(rawValue: UInt8(ascii: "W"))
  }

  /// All records, in the order of the file.
  public let records: [Record]

  /// Bytes of the header, and of a record.
  static let unit = 24
  static let magic: UInt32 = 0xC2EF_1820
  /// The trace's seed of `crc32cRaw`.
  static let checksumSeed: UInt32 = 0

  /// A trace by its records.
  public init(records: [Record]) { self.records = records }

  /// Whether a file that begins with these bytes claims to be a trace; overlaybd takes any other for a list of paths.
  public static func isTrace(prefix: RawSpan) -> Bool {
    prefix.byteCount >= unit && little(UInt32.self, prefix, at: 0) == magic
  }

  /// Parses a whole trace file.
  ///
  /// - Throws: `notTrace`, `sizeMismatch`, `partialRecord`, `checksumMismatch`, `invalidRange`.
  public init(parsing bytes: RawSpan) throws(TraceError) {
    guard Self.isTrace(prefix: bytes) else { throw .notTrace }
    let size = Self.little(UInt64.self, bytes, at: 8)
    let found = UInt64(bytes.byteCount - Self.unit)
    guard size == found else { throw .sizeMismatch(found: found, expected: size) }
    guard size % UInt64(Self.unit) == 0 else { throw .partialRecord(size: size) }
    let expected = Self.little(UInt32.self, bytes, at: 16)
    let checksum = bytes.withUnsafeBytes {
      crc32cRaw(UnsafeRawBufferPointer(rebasing: $0[Self.unit...]), seed: Self.checksumSeed)
    }
    guard checksum == expected else { throw .checksumMismatch(found: checksum, expected: expected) }
    var records: [Record] = []
    records.reserveCapacity(Int(found) / Self.unit)
    for start in stride(from: Self.unit, to: bytes.byteCount, by: Self.unit) {
      records.append(try Self.record(bytes, at: start))
    }
    self.records = records
  }

  private static func record(_ bytes: RawSpan, at start: Int) throws(TraceError) -> Record {
    let count = little(UInt64.self, bytes, at: start + 8)
    let offset = little(Int64.self, bytes, at: start + 16)
    guard offset >= 0, count <= UInt64(Int64.max - offset) else {
      throw .invalidRange(record: start / unit - 1, offset: offset, count: count)
    }
    return Record(
      operation: Operation(rawValue: little(UInt8.self, bytes, at: start)),
      layer: little(UInt32.self, bytes, at: start + 4), offset: UInt64(offset), count: count)
  }

  private static func little<Integer: FixedWidthInteger & BitwiseCopyable>(
    _ type: Integer.Type, _ bytes: RawSpan, at offset: Int
  ) -> Integer {
    precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= bytes.byteCount)
    return Integer(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: type))
  }
}
