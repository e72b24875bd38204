import CLinux
import Glibc
import Posix

/// Blobs of which every chunk is here.
extension RemoteBlob {
  /// Whether now all chunks are here, and they were not when this was asked last.
  ///
  /// Looks on from where it stopped last time, so that all calls together look at each chunk about once.
  func noteComplete() -> Bool {
    guard let cached else { return false }
    let drops = cached.view.dropCount
    if drops != traffic.completeDrops { forgetComplete() }
    traffic.completeDrops = drops
    if traffic.wasComplete { return false }
    while traffic.complete < chunkCount, cached.view.word(traffic.complete).isPresent { traffic.complete += 1 }
    traffic.wasComplete = traffic.complete == chunkCount
    return traffic.wasComplete
  }

  /// When what is missing has come, the whole is looked at again.
  func forgetComplete() {
    traffic.complete = 0
    traffic.wasComplete = false
  }

  /// Whether all of it is in the cache and was found to be the blob.
  public var isTrusted: Bool { cached?.view.isTrusted ?? false }

  /// Where overlaybd's snapshotter looks for the whole blob; nil where there is no folder, or it is there already.
  var unpublishedPath: String? {
    folder.flatMap { folder in
      let path = "\(folder)/overlaybd.commit"
      return fileExists(path) ? nil : path
    }
  }

  /// Copies the whole blob to `path`, if what is copied has the blob's sha256: false otherwise, and when stopped.
  func publish(_ path: String, isStopped: () -> Bool) throws(BlobError) -> Bool {
    guard let cached else { return false }
    let temporary = "\(path).\(getpid()).\(monotonicNanoseconds()).tmp"
    defer { _ = unlink(temporary) }
    do throws(Errno) {
      let file = try Descriptor.open(temporary, O_RDWR | O_CREAT | O_EXCL)
      // Shares the blocks, where the file system can.
      let isCloned = clinux_clone_file(file.rawValue, cached.fd) == 0
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(ChunkMap.spanBytes), alignment: 4096)
      defer { buffer.deallocate() }
      var hash = BlobHash()
      for chunks in cached.spans {
        if isStopped() { return false }
        let range = bytes(of: chunks)
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
        if isCloned {
          guard try file.readFully(into: part, at: range.lowerBound) == part.count else { return false }
        } else {
          guard cached.hasAll(chunks, into: buffer) else { return false }
          try file.writeFully(UnsafeRawBufferPointer(part), at: range.lowerBound)
        }
        hash.update(UnsafeRawBufferPointer(part))
      }
      guard hash.hexadecimal() == location.hex else { return false }
      try file.synchronize()
      if rename(temporary, path) != 0 { throw .last }
      return true
    } catch {
      throw .cache(what: "cannot be written", path: path, error)
    }
  }
}
