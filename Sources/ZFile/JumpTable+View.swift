extension JumpTable {
  /// A jump table as the path of a request uses it: plain pointers, valid while the table lives. HOT.
  public struct View: @unchecked Sendable, BitwiseCopyable {
    @usableFromInline let bases: UnsafePointer<UInt64>
    @usableFromInline let distances: UnsafePointer<UInt32>
    /// Number of blocks.
    public let blockCount: Int
    /// The block size as a power of two.
    public let blockShift: Int
    /// Bytes of content.
    public let originalSize: UInt64
    /// The blocks' codec.
    public let compression: Compression
    /// Whether a CRC follows each block; stored lengths include it.
    public let hasChecksums: Bool
    /// The longest stored block of this file, in bytes.
    public let maxStoredLength: Int

    init(_ storage: Storage, record: ZFileRecord, maxStoredLength: Int) {
      bases = UnsafePointer(storage.bases)
      distances = UnsafePointer(storage.distances)
      blockCount = storage.blockCount
      blockShift = record.blockSize.trailingZeroBitCount
      originalSize = record.originalSize
      compression = record.compression
      hasChecksums = record.hasChecksums
      self.maxStoredLength = maxStoredLength
    }

    /// Bytes of content in every block but the last.
    @inlinable public var blockSize: Int { 1 << blockShift }

    /// Where a block is stored, in bytes from the start of the file; for `blockCount`, where the last block ends.
    @inlinable public func storedOffset(ofBlock block: Int) -> UInt64 {
      precondition(block >= 0 && block <= blockCount)
      return bases[block &>> JumpTable.groupShift] &+ UInt64(distances[block])
    }

    /// Where neighbouring blocks are stored, CRCs included, in bytes from the start of the file.
    @inlinable public func storedRange(ofBlocks blocks: Range<Int>) -> (offset: UInt64, length: Int) {
      let offset = storedOffset(ofBlock: blocks.lowerBound)
      return (offset, Int(storedOffset(ofBlock: blocks.upperBound) &- offset))
    }

    /// Bytes of content in a block: the block size, less in the last one.
    @inlinable public func contentLength(ofBlock block: Int) -> Int {
      precondition(block >= 0 && block < blockCount)
      return Int(min(UInt64(blockSize), originalSize &- UInt64(block) &<< UInt64(blockShift)))
    }
  }
}

extension JumpTable.View {
  /// The block that has byte `offset` of the file; the first or the last one for what is before or behind all blocks. There
  /// must be a block.
  public func block(storedAt offset: UInt64) -> Int {
    precondition(blockCount > 0)
    var first = 0
    var end = blockCount
    // The first block that begins behind `offset`.
    while first < end {
      let middle = (first + end) / 2
      if storedOffset(ofBlock: middle) <= offset { first = middle + 1 } else { end = middle }
    }
    return max(first - 1, 0)
  }
}
