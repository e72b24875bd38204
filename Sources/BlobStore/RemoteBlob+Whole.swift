import CLinux
import Glibc
import Posix
import Synchronization

/// Blobs of which every chunk is here.
extension RemoteBlob {
  /// Called when a chunk was stored: whether now all of them are here and nobody has checked the whole yet.
  ///
  /// Looks on from where it stopped last time, so that all calls together look at each chunk about once.
  func noteComplete() -> Bool {
    guard let cached, !traffic.wasComplete else { return false }
    while traffic.complete < chunkCount, cached.view.word(traffic.complete).isPresent { traffic.complete += 1 }
    guard traffic.complete == chunkCount else { return false }
    traffic.wasComplete = true
    return !cached.view.isTrusted
  }

  /// Whether all of it is in the cache and was found to be the blob.
  public var isTrusted: Bool { cached?.view.isTrusted ?? false }

  /// Copies the whole blob, which was checked, to where overlaybd's snapshotter looks for it: `overlaybd.commit` in
  /// the layer's folder. Nothing where there is no folder, or the file exists.
  func publish(isStopped: () -> Bool) throws(BlobError) {
    guard let folder, let cached else { return }
    let path = "\(folder)/overlaybd.commit"
    if fileExists(path) { return }
    let temporary = "\(folder)/.overlaybd.commit.\(getpid()).tmp"
    do throws(Errno) {
      let file = try Descriptor.open(temporary, O_RDWR | O_CREAT | O_TRUNC)
      let drops = cached.view.dropCount
      if clinux_clone_file(file.rawValue, cached.fd) != 0 {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        var offset: UInt64 = 0
        while offset < size, !isStopped() {
          let part = UnsafeMutableRawBufferPointer(rebasing: buffer.prefix(Int(clamping: size - offset)))
          guard try cached.read(part, at: offset) else { throw .ioError }
          try file.writeFully(UnsafeRawBufferPointer(part), at: offset)
          offset += UInt64(part.count)
        }
      }
      try file.synchronize()
      // What was dropped meanwhile may have been copied as zeroes.
      guard !isStopped(), isTrusted, cached.view.dropCount == drops else {
        _ = unlink(temporary)
        return
      }
      if rename(temporary, path) != 0 { throw .last }
    } catch {
      _ = unlink(temporary)
      throw .cache(what: "cannot be written", path: path, error)
    }
  }
}

extension ChunkFile {
  enum Whole {
    case isBlob
    case isAnother(digest: String)
    /// Another process checks it, a chunk was dropped, or the time was up.
    case undecided
  }

  /// Where the claim to check the whole is, beyond all chunks' claims.
  private static let wholeClaim = Int(ChunkMap.blobBytesMax)..<Int(ChunkMap.blobBytesMax) + 1

  /// Reads everything and compares its sha256; afterwards the blob is trusted, or all of it is dropped.
  func checkWhole(_ blob: RemoteBlob, isStopped: () -> Bool) throws(BlobError) -> Whole {
    guard claim(Self.wholeClaim) else { return .undecided }
    defer { release(Self.wholeClaim) }
    let drops = view.dropCount
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(ChunkMap.chunkBytes), alignment: 4096)
    defer { buffer.deallocate() }
    var hash = BlobHash()
    for chunk in 0..<chunkCount {
      guard !isStopped(), check(chunk, into: buffer) != nil else { return .undecided }
      hash.update(UnsafeRawBufferPointer(rebasing: buffer[..<range(of: chunk).count]))
    }
    let digest = "sha256:\(hash.hexadecimal())"
    guard digest == blob.location.digest else {
      for chunk in 0..<chunkCount where claim(chunk..<chunk + 1) {
        drop(chunk)
        release(chunk..<chunk + 1)
      }
      return .isAnother(digest: digest)
    }
    // The word of trust must not reach the disk before the bytes do.
    do throws(Errno) { try synchronize() } catch { throw .cache(what: "cannot be written", path: blob.name, error) }
    view.trust(drops)
    return view.isTrusted ? .isBlob : .undecided
  }
}
