import Posix
import Registry
import Synchronization

extension BlobStore {
  /// What makes two openings of a blob the same one.
  struct OpenKey: Hashable {
    let location: BlobLocation
    let size: UInt64
    let folder: String?
  }

  /// A blob that is open as long as somebody uses it.
  struct OpenBlob: Sendable {
    weak var blob: RemoteBlob?
  }

  /// Opens a blob. `size` is what the configuration says of it; where it says nothing the cache may know, and else the
  /// registry is asked. `folder` is the layer's folder on this machine, for the whole blob. Waits until `deadline`.
  public func open(
    _ location: BlobLocation, size: UInt64?, folder: String?, deadline: Deadline
  ) throws(BlobError) -> RemoteBlob {
    guard BlobLocation.isDigest(location.digest) else { throw .notDigest(location.digest) }
    if let known = size ?? sizeInCache(location.hex) { return try blob(location, known, folder) }
    let tail = try fetchTail(location, deadline)
    let blob = try blob(location, tail.total, folder)
    keep(tail, blob)
    return blob
  }

  private func sizeInCache(_ hex: String) -> UInt64? {
    do throws(BlobError) { return try cache?.knownSize(hex) } catch {
      report(.troubled(error))
      return nil
    }
  }

  private func blob(_ location: BlobLocation, _ size: UInt64, _ folder: String?) throws(BlobError) -> RemoteBlob {
    guard size <= ChunkMap.blobBytesMax else { throw .tooLarge(blob: location.url, size: size) }
    let key = OpenKey(location: location, size: size, folder: folder)
    return try openBlobs.withLock { (all) throws(BlobError) in
      if let blob = all[key]?.blob { return blob }
      let blob = try newBlob(key)
      all = all.filter { $0.value.blob != nil }
      all[key] = OpenBlob(blob: blob)
      return blob
    }
  }

  private func newBlob(_ key: OpenKey) throws(BlobError) -> RemoteBlob {
    var cached: ChunkFile?
    do throws(BlobError) { cached = try cache?.open(key.location.hex, size: key.size) } catch {
      if case .sizeMismatch = error { throw error }
      // A cache that does not work is slow, not a reason to have no disk.
      report(.troubled(error))
    }
    let blob: RemoteBlob
    do throws(Errno) {
      blob = try RemoteBlob(location: key.location, size: key.size, folder: key.folder, cached: cached, clock: clock)
    } catch {
      throw .cache(what: "memory for it cannot be had", path: key.location.url, error)
    }
    loop.after(milliseconds: checkDelay) { [weak self, weak blob] in
      guard let self, let blob, !isStopped, blob.noteComplete() else { return }
      checkWhole(blob)
    }
    return blob
  }

  // MARK: A blob whose size nobody knows

  /// Bytes that are asked for at the end of a blob whose size is not known.
  private static let suffixBytes = 256 << 10

  /// The last bytes of a blob. Of the loop until `answer` is there.
  final class Tail: @unchecked Sendable {
    let location: BlobLocation
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: suffixBytes, alignment: 4096)
    let answer = OneShot<BlobError?>()
    fileprivate(set) var handle: FetchHandle?
    fileprivate(set) var total: UInt64 = 0
    fileprivate(set) var range: Range<UInt64> = 0..<0

    init(_ location: BlobLocation) { self.location = location }

    deinit { bytes.deallocate() }

    /// Ends the wait for it.
    func stop(_ origin: any BlobOrigin) {
      if let handle { origin.cancel(handle) }
      handle = nil
      answer.set(.stopped)
    }

    fileprivate func note(_ result: Result<FetchResult, RegistryError>, _ location: BlobLocation) {
      handle = nil
      switch result {
      case .failure(let error): answer.set(.registry(error))
      case .success(let found):
        guard let size = found.totalSize else { return answer.set(.sizeUnknown(blob: location.url)) }
        guard found.range.upperBound <= size, found.range.count <= bytes.count else {
          return answer.set(
            .sizeMismatch(digest: location.digest, expected: found.range.upperBound, found: size, where: location.url))
        }
        total = size
        range = found.range
        answer.set(nil)
      }
    }
  }

  private func fetchTail(_ location: BlobLocation, _ deadline: Deadline) throws(BlobError) -> Tail {
    let tail = Tail(location)
    loop.perform { [self] in
      guard !isStopped else { return tail.stop(origin) }
      tails[ObjectIdentifier(tail)] = tail
      counters.fetchesAtomic.add(1, ordering: .relaxed)
      tail.handle = origin.fetch(
        location, .suffix(tail.bytes.count), into: tail.bytes, deadline: deadline, progress: { _ in },
        completion: { [weak self] result in
          tail.note(result, location)
          self?.tails[ObjectIdentifier(tail)] = nil
        })
    }
    defer {
      loop.perform { [self] in
        if let handle = tail.handle { origin.cancel(handle) }
        tails[ObjectIdentifier(tail)] = nil
      }
    }
    guard let error = tail.answer.wait(deadline) else {
      throw .timedOut(blob: location.url, offset: 0, wanted: tail.bytes.count)
    }
    if let error { throw error }
    return tail
  }

  /// Keeps the whole chunks of a tail.
  private func keep(_ tail: Tail, _ blob: RemoteBlob) {
    loop.perform { [self] in
      let first = Int((tail.range.lowerBound + ChunkMap.chunkBytes - 1) >> ChunkMap.chunkShift)
      guard !isStopped, first < blob.chunkCount, tail.range.upperBound == blob.size else { return }
      let bytes = blob.bytes(of: first..<blob.chunkCount)
      let start = Int(bytes.lowerBound - tail.range.lowerBound)
      keep(blob, first..<blob.chunkCount, UnsafeRawBufferPointer(rebasing: tail.bytes[start..<start + bytes.count]))
    }
  }
}

extension BlobLocation {
  /// The digest without `sha256:`.
  var hex: String { String(digest.dropFirst("sha256:".count)) }
}
