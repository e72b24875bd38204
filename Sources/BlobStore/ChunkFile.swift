import CLinux
import Glibc
import Posix
import Synchronization
import ZFile

/// Chunks of one blob at the places that they have in the blob: a sparse file, and the map that says which are there.
///
/// In the node's cache both are files that every process uses; a store that may not write there has them in memory.
final class ChunkFile: Sendable {
  /// Bytes of the blob.
  let blobSize: UInt64
  let map: ChunkMap
  let isShared: Bool
  private let data: Descriptor
  /// Whose locks are the claims; nil in memory, where nobody else is.
  private let claims: Descriptor?

  /// The file with the bytes, for the ring; valid while this object lives.
  var fd: Int32 { data.rawValue }
  var view: ChunkMap.View { map.view }
  var chunkCount: Int { map.chunkCount }

  init(blobSize: UInt64, map: consuming ChunkMap, data: consuming Descriptor, claims: consuming Descriptor?) {
    self.blobSize = blobSize
    self.map = map
    self.data = data
    isShared = claims != nil
    self.claims = claims
  }

  /// One in memory, empty. `EFBIG` for more than a map can have.
  static func inMemory(blobSize: UInt64) throws(Errno) -> ChunkFile {
    guard blobSize <= ChunkMap.blobBytesMax else { throw Errno(rawValue: EFBIG) }
    let data = Descriptor(owning: try retryingInterrupts { clinux_memfd("warmblk-chunks") })
    try data.truncate(to: blobSize)
    let map = try ChunkMap(file: nil, chunks: ChunkMap.chunkCount(ofBlob: blobSize))
    return ChunkFile(blobSize: blobSize, map: map, data: data, claims: nil)
  }

  /// Where a chunk lies in the blob.
  func range(of chunk: Int) -> Range<UInt64> {
    let start = UInt64(chunk) << ChunkMap.chunkShift
    return start..<min(start + ChunkMap.chunkBytes, blobSize)
  }

  // MARK: Claims

  /// Makes these chunks this process's to fetch or drop; false when another process has one of them. A claim ends
  /// with `release` or with the process, however that ends.
  func claim(_ chunks: Range<Int>) -> Bool { lock(F_WRLCK, chunks) }

  func release(_ chunks: Range<Int>) { _ = lock(F_UNLCK, chunks) }

  private func lock(_ type: Int32, _ chunks: Range<Int>) -> Bool {
    // A length of 0 would mean everything behind it.
    if chunks.isEmpty { return true }
    return switch claims {
    case .none: true
    case .some(let claims):
      clinux_lock_range(claims.rawValue, Int16(type), Int64(chunks.lowerBound), Int64(chunks.count)) == 0
    }
  }

  // MARK: Content

  /// The sum that a chunk's word has. The seed is not 0, as a hole's bytes, zeroes, would then have the sum of a word
  /// that was never written.
  static func sum(_ bytes: UnsafeRawBufferPointer) -> UInt32 { crc32cRaw(bytes, seed: .max) }

  /// Stores a chunk and publishes it. Only with its claim.
  func store(_ chunk: Int, _ bytes: UnsafeRawBufferPointer) throws(Errno) {
    // Readers of what is there must notice that it is written over.
    if view.word(chunk).isPresent { announceDrop(chunk) }
    try data.writeFully(bytes, at: range(of: chunk).lowerBound)
    view.publish(chunk, crc: Self.sum(bytes))
  }

  /// Drops a chunk and gives its space back. Only with its claim.
  func drop(_ chunk: Int) {
    announceDrop(chunk)
    let range = range(of: chunk)
    // Where it is refused the bytes stay until they are written over.
    _ = clinux_punch_hole(data.rawValue, Int64(range.lowerBound), Int64(range.count))
  }

  private func announceDrop(_ chunk: Int) {
    // A trust that survived a power cut which the hole survived too would be believed.
    if view.drop(chunk) { try? map.synchronizeHeader() }
  }

  /// Reads a chunk that is here and checks it: its word, or nil when it is not here or not what was stored.
  func check(_ chunk: Int, into buffer: UnsafeMutableRawBufferPointer) -> ChunkWord? {
    let word = view.word(chunk)
    guard word.isPresent else { return nil }
    let range = range(of: chunk)
    let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
    guard (try? read(part, at: range.lowerBound)) == true, Self.sum(UnsafeRawBufferPointer(part)) == word.crc
    else { return nil }
    return view.word(chunk) == word ? word : nil
  }

  /// Fills `buffer`; false when the file ends before.
  func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Bool {
    try data.readFully(into: buffer, at: offset) == buffer.count
  }

  func synchronize() throws(Errno) { try data.synchronize() }

  /// How many chunks are here.
  var presentCount: Int { (0..<chunkCount).reduce(0) { $0 + (view.word($1).isPresent ? 1 : 0) } }
}
