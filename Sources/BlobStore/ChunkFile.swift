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

  /// Where chunks lie in the blob.
  func bytes(of chunks: Range<Int>) -> Range<UInt64> {
    ChunkMap.bytes(of: chunks, blobSize: blobSize)
  }

  /// All chunks, span by span.
  var spans: some Sequence<Range<Int>> {
    stride(from: 0, to: chunkCount, by: ChunkMap.spanChunks).lazy.map { [chunkCount] first in
      first..<min(chunkCount, first + ChunkMap.spanChunks)
    }
  }

  // MARK: Claims

  /// Makes these chunks this process's to fetch or drop; false when another process has one of them. A claim ends
  /// with `release` or with the process, however that ends.
  func claim(_ chunks: Range<Int>) -> Bool { lock(F_WRLCK, chunks) }

  func release(_ chunks: Range<Int>) { _ = lock(F_UNLCK, chunks) }

  /// The first of these chunks that another process has claimed, with those behind it in the same claim; nil for none.
  func foreignClaim(in chunks: Range<Int>) -> Range<Int>? {
    guard let claimsDescriptor else { return nil }
    var found: Range<Int>?
    var rest = chunks
    // The kernel tells of one claim, not of the first.
    while !rest.isEmpty {
      var start: Int64 = 0
      var count: Int64 = 0
      guard clinux_find_lock(claimsDescriptor, Int64(rest.lowerBound), Int64(rest.count), &start, &count) == 1,
        count > 0
      else { break }
      let claim = (Int(start)..<Int(start + count)).clamped(to: rest)
      found = claim
      rest = rest.lowerBound..<claim.lowerBound
    }
    return found
  }

  private func lock(_ type: Int32, _ chunks: Range<Int>) -> Bool {
    // A length of 0 would mean everything behind it.
    if chunks.isEmpty { return true }
    guard let claimsDescriptor else { return true }
    return clinux_lock_range(claimsDescriptor, Int16(type), Int64(chunks.lowerBound), Int64(chunks.count)) == 0
  }

  private var claimsDescriptor: Int32? {
    switch claims {
    case .none: nil
    case .some(let claims): claims.rawValue
    }
  }

  // MARK: Content

  /// The sum that a chunk's word has. The seed is not 0, as a hole's bytes, zeroes, would then have the sum of a word
  /// that was never written.
  static func sum(_ bytes: UnsafeRawBufferPointer) -> UInt32 { crc32cRaw(bytes, seed: .max) }

  /// Stores chunks and publishes them. Only with their claims.
  func store(_ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer) throws(Errno) {
    // Readers of what is there must notice that it is written over.
    for chunk in chunks where view.word(chunk).isPresent { announceDrop(chunk) }
    try data.writeFully(bytes, at: self.bytes(of: chunks).lowerBound)
    var rest = bytes[...]
    for chunk in chunks {
      let part = rest.prefix(Int(ChunkMap.chunkBytes))
      view.publish(chunk, crc: Self.sum(UnsafeRawBufferPointer(rebasing: part)))
      rest = rest.dropFirst(part.count)
    }
  }

  /// Drops those of the chunks that are here, and gives their space back as far as whole blocks of the disk are theirs.
  /// Bytes dropped. Only with their claims.
  @discardableResult
  func drop(_ chunks: Range<Int>) -> UInt64 {
    var dropped: UInt64 = 0
    for chunk in chunks where view.word(chunk).isPresent {
      announceDrop(chunk)
      dropped += UInt64(bytes(of: chunk..<chunk + 1).count)
    }
    let range = bytes(of: chunks)
    // Where it is refused the bytes stay until they are written over.
    if dropped > 0 { _ = clinux_punch_hole(data.rawValue, Int64(range.lowerBound), Int64(range.count)) }
    return dropped
  }

  private func announceDrop(_ chunk: Int) {
    // A trust that survived a power cut which the hole survived too would be believed.
    if view.drop(chunk) { try? map.synchronizeHeader() }
  }

  /// Reads chunks, a span at most, and tells `body` of each its word; nil of one that is not here, or not what was
  /// stored.
  func check(_ chunks: Range<Int>, into buffer: UnsafeMutableRawBufferPointer, _ body: (Int, ChunkWord?) -> Void) {
    // Before the bytes are read, which is after them for those that are stored meanwhile.
    let words = chunks.map { view.word($0) }
    let range = bytes(of: chunks)
    let all = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
    let isRead = (try? read(all, at: range.lowerBound)) ?? false
    for (chunk, word) in zip(chunks, words) {
      let own = bytes(of: chunk..<chunk + 1)
      let part = UnsafeRawBufferPointer(rebasing: all[Int(own.lowerBound - range.lowerBound)...].prefix(own.count))
      let isWhole = isRead && word.isPresent && Self.sum(part) == word.crc && view.word(chunk) == word
      body(chunk, isWhole ? word : nil)
    }
  }

  /// Whether all of the chunks, a span at most, are here and what was stored; then `buffer` has them.
  func hasAll(_ chunks: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
    var hasAll = true
    check(chunks, into: buffer) { if $1 == nil { hasAll = false } }
    return hasAll
  }

  /// Fills `buffer`; false when the file ends before.
  func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Bool {
    try data.readFully(into: buffer, at: offset) == buffer.count
  }

  func synchronize() throws(Errno) { try data.synchronize() }

  /// How many chunks are here.
  var presentCount: Int { (0..<chunkCount).reduce(0) { $0 + (view.word($1).isPresent ? 1 : 0) } }
}
