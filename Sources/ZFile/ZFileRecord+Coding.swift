extension ZFileRecord {
  /// Whether a file that begins with these bytes claims to be a ZFile: 24 bytes of magic are looked at.
  public static func isZFile(prefix: RawSpan) -> Bool {
    guard prefix.byteCount >= magic.count else { return false }
    return magic.indices.allSatisfy { prefix.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == magic[$0] }
  }

  /// Parses a header or a trailer from its 512 bytes; bytes behind them are ignored.
  ///
  /// A header that was not overwritten does not know the jump table: its three index fields are junk in files of old
  /// writers, and the trailer's are to be used.
  ///
  /// - Throws: `truncated`, `notZFile`, `wrongRole`, `notSealedData`, `digestMismatch`, `unsupportedAlgorithm`,
  ///   `unsupportedDictionary`, `invalidBlockSize`, `invalidVerifyFlag`.
  public init(parsing bytes: RawSpan, as role: Role) throws(ZFileError) {
    guard bytes.byteCount >= Self.size else { throw .truncated(wanted: Self.size, found: bytes.byteCount) }
    guard Self.isZFile(prefix: bytes) else { throw .notZFile }
    let word = UInt32(truncatingIfNeeded: bytes.little(UInt64.self, at: Field.flags))
    flags = Flags(rawValue: word).intersection(.all)
    guard flags.contains(.header) == (role == .header) else { throw .wrongRole(wanted: role) }
    if flags.contains(.digest) { try Self.checkDigest(bytes) }
    guard flags.contains(.data), role == .header || flags.contains(.sealed) else {
      throw .notSealedData(flags: flags.rawValue)
    }
    let algorithm = bytes.little(UInt8.self, at: Field.algorithm)
    guard let compression = Compression(rawValue: algorithm) else { throw .unsupportedAlgorithm(algorithm) }
    self.compression = compression
    blockSize = bytes.little(UInt32.self, at: Field.blockSize)
    guard blockShift(of: blockSize) != nil else { throw .invalidBlockSize(blockSize) }
    // Old writers set these two although they left junk around them, so they can be believed.
    let dictionarySize = bytes.little(UInt32.self, at: Field.dictionarySize)
    guard bytes.little(UInt8.self, at: Field.usesDictionary) == 0, dictionarySize == 0 else {
      throw .unsupportedDictionary(bytes: dictionarySize)
    }
    let verify = bytes.little(UInt8.self, at: Field.verify)
    guard verify <= 1 else { throw .invalidVerifyFlag(verify) }
    hasChecksums = verify == 1
    indexOffset = bytes.little(UInt64.self, at: Field.indexOffset)
    indexCount = bytes.little(UInt64.self, at: Field.indexCount)
    originalSize = bytes.little(UInt64.self, at: Field.originalSize)
    indexChecksum = bytes.little(UInt32.self, at: Field.indexChecksum)
  }

  private static func checkDigest(_ bytes: RawSpan) throws(ZFileError) {
    let expected = bytes.little(UInt32.self, at: Field.digest)
    let found = bytes.withUnsafeBytes { digest(of: $0) }
    guard found == expected else { throw .digestMismatch(found: found, expected: expected) }
  }

  /// The CRC of a record with its digest field taken as zero.
  private static func digest(of record: UnsafeRawBufferPointer) -> UInt32 {
    var state = crc32cRaw(UnsafeRawBufferPointer(rebasing: record[..<Field.digest]), seed: 0)
    state = withUnsafeBytes(of: UInt32(0)) { crc32cRaw($0, seed: state) }
    return crc32cRaw(UnsafeRawBufferPointer(rebasing: record[(Field.digest + 4)..<size]), seed: state)
  }

  /// The record's 512 bytes; all that has no meaning is zero.
  public func encoded() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.size)
    bytes.replaceSubrange(..<Self.magic.count, with: Self.magic)
    bytes.store(UInt32(96), at: Field.size)
    bytes.store(UInt64(flags.rawValue), at: Field.flags)
    bytes.store(indexOffset, at: Field.indexOffset)
    bytes.store(indexCount, at: Field.indexCount)
    bytes.store(originalSize, at: Field.originalSize)
    bytes.store(indexChecksum, at: Field.indexChecksum)
    bytes.store(blockSize, at: Field.blockSize)
    bytes[Field.algorithm] = compression.rawValue
    bytes[Field.verify] = hasChecksums ? 1 : 0
    if hasDigest { bytes.store(bytes.withUnsafeBytes { Self.digest(of: $0) }, at: Field.digest) }
    return bytes
  }
}
