import Glibc
import Posix

extension NodeCache {
  /// What was found when all chunks of a blob were read.
  public struct Verification: Sendable, Equatable, Codable {
    /// Chunks, of 1 KiB, that were here and that are what was stored.
    public var whole: Int
    /// Chunks that were not, and were dropped.
    public var damaged: Int
    /// Chunks that the blob has.
    public var chunks: Int
    /// The sha256 of the blob, 64 hexadecimal digits; nil when not all of it is here.
    public var sha256: String?
    /// Whether that is the blob's: then it is trusted. Otherwise all of it was dropped.
    public var isTrusted: Bool

    /// Nothing yet; what is given is counted so far.
    public init(whole: Int = 0, damaged: Int = 0, chunks: Int = 0, sha256: String? = nil, isTrusted: Bool = false) {
      self.whole = whole
      self.damaged = damaged
      self.chunks = chunks
      self.sha256 = sha256
      self.isTrusted = isTrusted
    }
  }

  /// Reads what is here of the blob with sha256 `hex`, drops what is damaged, and of a complete blob finds out whether it
  /// is that blob. Devices may use it meanwhile.
  ///
  /// - Parameters:
  ///   - alone: Whether to leave it to another process that is at it already.
  ///   - isStopped: Asked for each chunk.
  ///   - progress: Told the bytes of the blob that were looked at so far.
  /// - Returns: nil when the cache has nothing of it, when stopped, or with `alone` when another is at it.
  public func verify(
    _ hex: String, alone: Bool = false, isStopped: () -> Bool = { false }, progress: (UInt64) -> Void = { _ in }
  ) throws(BlobError) -> Verification? {
    // Open for itself: a claim is this opening's, and does not mix with those of flights.
    guard let file = try existing(hex) else { return nil }
    if alone, !file.claim(ChunkFile.wholeClaim) { return nil }
    let drops = file.view.dropCount
    var result = Verification(chunks: file.chunkCount)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(ChunkMap.spanBytes), alignment: 4096)
    defer { buffer.deallocate() }
    var hash = BlobHash()
    for chunks in file.spans {
      if isStopped() { return nil }
      var damaged: [Int] = []
      file.check(chunks, into: buffer) { chunk, word in
        if word != nil { result.whole += 1 } else { damaged.append(chunk) }
      }
      let range = file.bytes(of: chunks)
      // Of a blob that is not whole in the end it does not matter what was fed.
      hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<range.count]))
      for chunk in damaged where file.dropIfDamaged(chunk, buffer) { result.damaged += 1 }
      progress(range.upperBound)
    }
    if result.whole == file.chunkCount, file.view.dropCount == drops {
      result.sha256 = hash.hexadecimal()
      if result.sha256 == hex {
        try file.trust(drops, path: dataPath(hex))
        result.isTrusted = file.view.isTrusted
      } else {
        for chunks in file.spans { file.dropIfFree(chunks) }
      }
    }
    return result
  }
}

extension ChunkFile {
  /// Where the claim to check the whole is, beyond all chunks' claims.
  static let wholeClaim = Int(ChunkMap.blobBytesMax)..<Int(ChunkMap.blobBytesMax) + 1

  /// The whole blob was read and had its sha256, while the count of drops was this.
  func trust(_ drops: UInt64, path: String) throws(BlobError) {
    // The word of trust must not reach the disk before the bytes do.
    do throws(Errno) { try synchronize() } catch { throw .cache(what: "cannot be written", path: path, error) }
    view.trust(drops)
  }

  /// Drops chunks unless some of them are being fetched. Bytes dropped.
  @discardableResult
  func dropIfFree(_ chunks: Range<Int>) -> UInt64 {
    guard claim(chunks) else { return 0 }
    defer { release(chunks) }
    return drop(chunks)
  }

  /// Drops a chunk that is here but not what was stored, unless somebody mended it or is at it; whether it did.
  func dropIfDamaged(_ chunk: Int, _ buffer: UnsafeMutableRawBufferPointer) -> Bool {
    guard view.word(chunk).isPresent, claim(chunk..<chunk + 1) else { return false }
    defer { release(chunk..<chunk + 1) }
    guard view.word(chunk).isPresent, !hasAll(chunk..<chunk + 1, into: buffer) else { return false }
    drop(chunk..<chunk + 1)
    return true
  }
}
