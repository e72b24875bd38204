/// The codec of a ZFile's blocks; the raw value is the format's number. 0 is reserved for MiniLZO, which nothing writes.
public enum Compression: UInt8, Sendable, BitwiseCopyable {
  /// A raw LZ4 block: no frame and no length prefix.
  case lz4 = 1
  /// One standard Zstandard frame.
  case zstd = 2
}

extension Compression: CustomStringConvertible {
  /// The codec's name as users write it.
  public var description: String {
    switch self {
    case .lz4: "lz4"
    case .zstd: "zstd"
    }
  }
}

/// The block sizes that overlaybd's readers accept, in bytes; powers of two only.
let blockSizes: ClosedRange<UInt32> = 4096...65536

/// How many bytes of stored block there may be beyond the block size: what overlaybd's buffers allow for, and more
/// than either codec needs for incompressible data and its CRC.
let storedExcess: UInt32 = 512

/// The bytes of a CRC that follows a block.
let checksumSize = 4

/// A block size that the format allows, as a power of two.
func blockShift(of blockSize: UInt32) -> Int? {
  guard blockSizes.contains(blockSize), blockSize.nonzeroBitCount == 1 else { return nil }
  return blockSize.trailingZeroBitCount
}
