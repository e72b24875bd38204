import CCodecs

/// Decodes blocks. Costs a codec context once, and nothing but the codec and the CRC for each block. One per thread. HOT.
public struct BlockDecoder: ~Copyable {
  private let zstd: OpaquePointer
  private let crc = CRC32C()

  /// - Throws: `outOfMemory`.
  public init() throws(ZFileError) {
    guard let context = ZSTD_createDCtx() else { throw .outOfMemory(.zstd) }
    zstd = context
  }

  deinit { ZSTD_freeDCtx(zstd) }

  /// Decodes one block.
  ///
  /// After an error the content's bytes are undefined.
  ///
  /// - Parameters:
  ///   - stored: the block's stored bytes, with its CRC if it has one.
  ///   - content: where the content goes: exactly as many bytes as the block has.
  ///   - compression: the file's codec.
  ///   - hasChecksum: whether the last four stored bytes are a CRC. It is checked after decoding, when the bytes are in
  ///     the processor's cache, and counts before whatever the codec said.
  /// - Throws: `blockTooShort`, `blockChecksumMismatch`, `blockCorrupt`, `blockLengthMismatch`.
  public mutating func decode(
    stored: UnsafeRawBufferPointer, into content: UnsafeMutableRawBufferPointer, compression: Compression,
    hasChecksum: Bool
  ) throws(ZFileError) {
    let count = hasChecksum ? stored.count - checksumSize : stored.count
    guard count > 0, count <= Int(Int32.max), let source = stored.baseAddress else {
      throw .blockTooShort(stored.count)
    }
    let decoded: Int
    switch compression {
    case .lz4:
      decoded = Int(
        LZ4_decompress_safe(
          source.assumingMemoryBound(to: CChar.self),
          content.baseAddress?.assumingMemoryBound(to: CChar.self),
          Int32(truncatingIfNeeded: count), Int32(clamping: content.count)))
    case .zstd:
      let result = ZSTD_decompressDCtx(zstd, content.baseAddress, content.count, source, count)
      decoded = ZSTD_isError(result) == 0 ? result : -1
    }
    if hasChecksum {
      let expected = UInt32(littleEndian: source.loadUnaligned(fromByteOffset: count, as: UInt32.self))
      let found = crc.sum(UnsafeRawBufferPointer(start: source, count: count), seed: blockChecksumSeed)
      guard found == expected else { throw .blockChecksumMismatch(found: found, expected: expected) }
    }
    guard decoded >= 0 else { throw .blockCorrupt(compression) }
    guard decoded == content.count else {
      throw .blockLengthMismatch(found: decoded, expected: content.count)
    }
  }
}

// It has one owner at a time, and the context does not care which thread that is.
extension BlockDecoder: @unchecked Sendable {}
