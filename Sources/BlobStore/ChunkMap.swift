import Glibc
import Posix
import Synchronization
import ZFile

/// Which chunks of a blob are in a file, in memory that all processes of the node share.
///
/// The file, little-endian; what follows the first 60 bytes changes while it is used, by single atomic steps:
///
///     0    u64  magic, "WBKMAP" and the version, 2
///     8    u32  bytes of a chunk, as a power of two
///     12   u32  chunks
///     16   u64  bytes of the blob
///     24   32   its sha256
///     56   u32  CRC-32C of bytes 0 to 56
///     64   u64  drops: counts times that chunks were dropped, before their bytes go
///     72   u64  the drops, plus 1, at the time when the whole blob was found to have its sha256; 0 before
///     4096 u64  a `ChunkWord` for each chunk
///          u32  when something of each span was read last, in seconds since 1970; behind the words
///
/// Chunks are small, so that scattered bytes can be had without those between them: the 1500 reads of
/// `scripts/bench remote`, which need 14.0 MB in 1014 places, touch chunks of 1.08 times that (4 KiB: 1.29, 64 KiB: 3.26).
/// They are dropped by age in spans, as a disk gives back whole blocks only.
///
/// A word is written when its chunk's bytes are, but both reach the disk in any order. So after a power cut a word may
/// speak of bytes that are not there: whoever reads a chunk first checks its CRC.
struct ChunkMap: ~Copyable, @unchecked Sendable {
  /// 1 KiB: what is here or not, and is checked, as a whole.
  static let chunkShift: UInt64 = 10
  static let chunkBytes: UInt64 = 1 << chunkShift
  /// 64 KiB: what is read and dropped at once.
  static let spanShift: UInt64 = 16
  static let spanChunks = 1 << Int(spanShift - chunkShift)
  static let spanBytes: UInt64 = 1 << spanShift
  /// 256 GiB: no blob of a registry is larger, and its map has 2 GiB.
  static let blobBytesMax: UInt64 = 1 << 38
  static let headerBytes = 4096
  private static let magic: UInt64 = 0x0200_5041_4d4b_4257
  private static let checkedBytes = 56

  /// The same memory, as readers use it: valid while the map lives.
  struct View: BitwiseCopyable, @unchecked Sendable {
    let words: UnsafeMutablePointer<Atomic<UInt64>>
    let uses: UnsafeMutablePointer<Atomic<UInt32>>
    let drops: UnsafeMutablePointer<Atomic<UInt64>>
    let trusted: UnsafeMutablePointer<Atomic<UInt64>>

    @inline(__always)
    func word(_ chunk: Int) -> ChunkWord { ChunkWord(rawValue: words[chunk].load(ordering: .acquiring)) }

    /// Notes that something of a chunk's span was read, at `now` in seconds since 1970.
    func use(_ chunk: Int, _ now: UInt32) { uses[chunk / spanChunks].store(now, ordering: .relaxed) }

    /// When something of a chunk's span was read last.
    func lastUse(_ chunk: Int) -> UInt32 { uses[chunk / spanChunks].load(ordering: .relaxed) }

    /// Makes a chunk's bytes, which are written, those that readers get.
    func publish(_ chunk: Int, crc: UInt32) {
      words[chunk].store(word(chunk).present(crc: crc).rawValue, ordering: .releasing)
    }

    /// Makes a chunk absent. From here on nobody believes bytes of it that were read before. Only with its claim.
    /// Whether the blob was trusted until now.
    func drop(_ chunk: Int) -> Bool {
      words[chunk].store(word(chunk).dropped.rawValue, ordering: .sequentiallyConsistent)
      // With the count goes the trust, in one step.
      let before = drops.pointee.add(1, ordering: .sequentiallyConsistent).oldValue
      return trusted.pointee.load(ordering: .sequentiallyConsistent) == before &+ 1
    }

    /// Times that chunks were dropped.
    var dropCount: UInt64 { drops.pointee.load(ordering: .sequentiallyConsistent) }

    /// Whether all of the blob was here and had its sha256, and nothing was dropped since.
    var isTrusted: Bool { trusted.pointee.load(ordering: .sequentiallyConsistent) == dropCount &+ 1 }

    /// The whole blob was read and had its sha256, while `dropCount` was this.
    func trust(_ dropCount: UInt64) { trusted.pointee.store(dropCount &+ 1, ordering: .sequentiallyConsistent) }
  }

  let view: View
  let chunkCount: Int
  private let mapping: MemoryMapping

  /// Brings the counts of drops and of trust to the disk.
  func synchronizeHeader() throws(Errno) {
    if msync(mapping.base, Self.headerBytes, MS_SYNC) != 0 { throw .last }
  }

  /// The chunks that a range of bytes, not empty, touches.
  static func chunks(of range: Range<UInt64>) -> Range<Int> {
    Int(range.lowerBound >> chunkShift)..<Int((range.upperBound - 1) >> chunkShift) + 1
  }

  /// The bytes of some chunks of a blob of `blobSize` bytes.
  static func bytes(of chunks: Range<Int>, blobSize: UInt64) -> Range<UInt64> {
    UInt64(chunks.lowerBound) << chunkShift..<min(blobSize, UInt64(chunks.upperBound) << chunkShift)
  }

  /// Chunks in ascending order as runs of at most `limit`.
  static func runs(of chunks: some Sequence<Int>, limit: Int = .max) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for chunk in chunks {
      if let last = runs.last, last.upperBound == chunk, last.count < limit {
        runs[runs.count - 1] = last.lowerBound..<chunk + 1
      } else {
        runs.append(chunk..<chunk + 1)
      }
    }
    return runs
  }

  static func chunkCount(ofBlob bytes: UInt64) -> Int { Int((bytes + chunkBytes - 1) >> chunkShift) }

  /// Chunks of which a file of so many bytes can be the map; nil when it cannot be one.
  static func chunkCount(ofMap bytes: Int) -> Int? {
    let spans = (bytes - headerBytes + spanChunks * 8 + 3) / (spanChunks * 8 + 4)
    let chunks = (bytes - headerBytes - spans * 4) / 8
    return bytes >= headerBytes && byteCount(chunks: chunks) == bytes ? chunks : nil
  }

  static func byteCount(chunks: Int) -> Int { headerBytes + chunks * 8 + (chunks + spanChunks - 1) / spanChunks * 4 }

  /// Maps `file`, whose header was written or checked, or anonymous memory.
  init(file: Int32?, chunks: Int) throws(Errno) {
    let bytes = Self.byteCount(chunks: chunks)
    if let file {
      mapping = try MemoryMapping(
        count: bytes, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED, file: file, offset: 0)
    } else {
      mapping = try MemoryMapping(anonymous: bytes)
    }
    chunkCount = chunks
    let words = mapping.base + Self.headerBytes
    view = View(
      words: words.assumingMemoryBound(to: Atomic<UInt64>.self),
      uses: (words + chunks * 8).assumingMemoryBound(to: Atomic<UInt32>.self),
      drops: (mapping.base + 64).assumingMemoryBound(to: Atomic<UInt64>.self),
      trusted: (mapping.base + 72).assumingMemoryBound(to: Atomic<UInt64>.self))
  }

  /// The first bytes of the map of a blob.
  static func header(blobSize: UInt64, sha256: [UInt8]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: headerBytes)
    bytes.withUnsafeMutableBytes { buffer in
      buffer.storeBytes(of: magic.littleEndian, as: UInt64.self)
      buffer.storeBytes(of: UInt32(chunkShift).littleEndian, toByteOffset: 8, as: UInt32.self)
      buffer.storeBytes(of: UInt32(chunkCount(ofBlob: blobSize)).littleEndian, toByteOffset: 12, as: UInt32.self)
      buffer.storeBytes(of: blobSize.littleEndian, toByteOffset: 16, as: UInt64.self)
      buffer.baseAddress!.advanced(by: 24).copyMemory(from: sha256, byteCount: min(32, sha256.count))
      let crc = crc32cRaw(UnsafeRawBufferPointer(rebasing: buffer[..<checkedBytes]), seed: 0)
      buffer.storeBytes(of: crc.littleEndian, toByteOffset: checkedBytes, as: UInt32.self)
    }
    return bytes
  }

  /// The size of the blob that a map is of; nil when its header is damaged, of another version, or of another blob.
  static func blobSize(ofHeader bytes: [UInt8], sha256: [UInt8], fileSize: UInt64) -> UInt64? {
    guard bytes.count >= headerBytes else { return nil }
    let size = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 16, as: UInt64.self) }.littleEndian
    guard size <= blobBytesMax, fileSize == UInt64(byteCount(chunks: chunkCount(ofBlob: size))),
      bytes[..<60].elementsEqual(header(blobSize: size, sha256: sha256)[..<60])
    else { return nil }
    return size
  }
}
