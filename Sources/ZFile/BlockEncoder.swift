import CCodecs

/// Compresses blocks: lz4 with its default acceleration, zstd at level 3, which is what overlaybd's writers use.
struct BlockEncoder: ~Copyable {
  private static let level: Int32 = 3
  private let compression: Compression
  private let zstd: OpaquePointer?

  init(_ compression: Compression, blockSize: Int) throws(ZFileError) {
    zstd = compression == .zstd ? try Self.makeContext(blockSize: blockSize) : nil
    self.compression = compression
  }

  deinit { ZSTD_freeCCtx(zstd) }

  /// Lets the context take all the memory that it ever needs, so that no later block can fail.
  private static func makeContext(blockSize: Int) throws(ZFileError) -> OpaquePointer {
    guard let context = ZSTD_createCCtx() else { throw .outOfMemory(.zstd) }
    let content = [UInt8](repeating: 0, count: blockSize)
    var target = [UInt8](repeating: 0, count: blockSize)
    let result = ZSTD_compressCCtx(context, &target, target.count, content, content.count, level)
    guard ZSTD_isError(result) == 0 else {
      ZSTD_freeCCtx(context)
      throw .outOfMemory(.zstd)
    }
    return context
  }

  /// Compresses a block and returns its length. The target has more room than the codec's worst case, so a failure
  /// is a bug.
  func encode(_ content: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int {
    switch compression {
    case .lz4:
      let length = LZ4_compress_default(
        content.baseAddress?.assumingMemoryBound(to: CChar.self),
        target.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(content.count), Int32(target.count))
      precondition(length > 0, "lz4 failed although it had room for its worst case")
      return Int(length)
    case .zstd:
      let length = ZSTD_compressCCtx(
        zstd, target.baseAddress, target.count, content.baseAddress, content.count, Self.level)
      precondition(ZSTD_isError(length) == 0, "zstd failed although it had room for its worst case")
      return length
    }
  }
}
