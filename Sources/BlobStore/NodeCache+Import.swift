import Glibc
import Posix
import Registry

extension NodeCache {
  /// What became of an import.
  public struct Imported: Sendable, Equatable, Codable {
    /// The sha256 of the file, 64 hexadecimal digits: what the blob is called.
    public let sha256: String
    /// Bytes of it.
    public let size: UInt64
    /// Bytes that the cache did not have.
    public var added: UInt64 = 0
    /// Whether all of it is in the cache now, and trusted. If not, a device was fetching some of it just then.
    public var isTrusted = false
  }

  /// The step that an import is at.
  public enum ImportStep: String, Sendable {
    /// Reading the file, to know its digest.
    case reading
    /// Copying it.
    case importing
  }

  /// Puts a blob into the cache that came another way than from its registry. Devices may use it meanwhile.
  ///
  /// The file is read twice, as nothing of a blob is in the cache before its digest is known. What changes in between
  /// is found.
  ///
  /// - Parameters:
  ///   - path: A file with the bytes as the registry has them, tar and compression included.
  ///   - digest: `sha256:` and 64 hexadecimal digits that the file must have; nil for whatever it has.
  ///   - progress: Told the step and the bytes of the file that it has done.
  public func importBlob(
    file path: String, digest: String? = nil, progress: (ImportStep, UInt64) -> Void = { _, _ in }
  ) throws(BlobError) -> Imported {
    if let digest, !BlobLocation.isDigest(digest) { throw .notDigest(digest) }
    let source = try Blob(path: path)
    guard source.fileSize <= ChunkMap.blobBytesMax else { throw .tooLarge(blob: path, size: source.fileSize) }
    guard source.fileSize <= limit else {
      throw .noRoom(path: path, size: source.fileSize, limit: limit)
    }
    let (sha256, sums) = try sums(of: source) { progress(.reading, $0) }
    if let digest, digest != "sha256:\(sha256)" {
      throw .wrongDigest(path: path, expected: digest, found: "sha256:\(sha256)")
    }
    var result = Imported(sha256: sha256, size: source.fileSize)
    let file = try open(sha256, size: source.fileSize)
    let drops = file.view.dropCount
    var isWhole = true
    var nextLook: UInt64 = 64 << 20
    try source.forEachSpan { (chunks, bytes) throws(BlobError) in
      guard ChunkFile.sum(bytes) == sums[chunks.lowerBound / ChunkMap.spanChunks] else { throw .changed(path: path) }
      switch try file.add(chunks, bytes, path: dataPath(sha256)) {
      case .wasHere: break
      case .added: result.added += UInt64(bytes.count)
      case .isClaimed: isWhole = false
      }
      if result.added >= nextLook {
        nextLook = result.added + (64 << 20)
        try makeRoom()
      }
      progress(.importing, file.bytes(of: chunks).upperBound)
    }
    if isWhole, file.view.dropCount == drops {
      try file.trust(drops, path: dataPath(sha256))
      result.isTrusted = file.view.isTrusted
    } else {
      // Something was replaced, dropped or fetched meanwhile: only a look at all of it tells.
      result.isTrusted = try verify(sha256)?.isTrusted ?? false
    }
    try makeRoom()
    return result
  }

  private func sums(of source: Blob, _ progress: (UInt64) -> Void) throws(BlobError) -> (String, [UInt32]) {
    var hash = BlobHash()
    var sums: [UInt32] = []
    var done: UInt64 = 0
    try source.forEachSpan { (_, bytes) throws(BlobError) in
      hash.update(bytes)
      sums.append(ChunkFile.sum(bytes))
      done += UInt64(bytes.count)
      progress(done)
    }
    return (hash.hexadecimal(), sums)
  }
}

extension Blob {
  /// Calls `body` with the chunks and the bytes of each span of the whole file.
  fileprivate func forEachSpan(
    _ body: (Range<Int>, UnsafeRawBufferPointer) throws(BlobError) -> Void
  ) throws(BlobError) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(ChunkMap.spanBytes), alignment: 4096)
    defer { buffer.deallocate() }
    let count = ChunkMap.chunkCount(ofBlob: fileSize)
    for first in stride(from: 0, to: count, by: ChunkMap.spanChunks) {
      let start = UInt64(first) << ChunkMap.chunkShift
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(ChunkMap.spanBytes, fileSize - start))])
      try readFile(part, at: start)
      try body(first..<min(count, first + ChunkMap.spanChunks), UnsafeRawBufferPointer(part))
    }
  }
}

extension ChunkFile {
  fileprivate enum Added {
    case wasHere, added, isClaimed
  }

  /// Stores a span's chunks unless exactly these bytes are here. What somebody fetches is waited for, half a second.
  fileprivate func add(_ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer, path: String) throws(BlobError) -> Added {
    let deadline = Deadline(milliseconds: 500)
    while !claim(chunks) {
      if deadline.hasPassed { return .isClaimed }
      usleep(2000)
    }
    defer { release(chunks) }
    if has(chunks, bytes) { return .wasHere }
    do throws(Errno) {
      view.use(chunks.lowerBound, UInt32(truncatingIfNeeded: time(nil)))
      try store(chunks, bytes)
    } catch {
      throw .cache(what: "cannot be written", path: path, error)
    }
    return .added
  }

  private func has(_ chunks: Range<Int>, _ bytes: UnsafeRawBufferPointer) -> Bool {
    if !chunks.allSatisfy({ view.word($0).isPresent }) { return false }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(ChunkMap.spanBytes), alignment: 4096)
    defer { buffer.deallocate() }
    return hasAll(chunks, into: buffer) && memcmp(buffer.baseAddress!, bytes.baseAddress!, bytes.count) == 0
  }
}
