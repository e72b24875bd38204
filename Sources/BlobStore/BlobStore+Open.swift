import Posix
import Registry

extension BlobStore {
  /// Bytes that are asked for at the end of a blob whose size is not known.
  private static let suffixBytes = 256 << 10

  /// Opens a blob. `size` is what the configuration says of it; where it says nothing the cache may know, and else the
  /// registry is asked. `folder` is the layer's folder on this machine, for the whole blob. Waits until `deadline`.
  public func open(
    _ location: BlobLocation, size: UInt64?, folder: String?, deadline: Deadline
  ) throws(BlobError) -> RemoteBlob {
    let hex = String(location.digest.dropFirst("sha256:".count))
    var known = size
    if known == nil { known = try cache?.existing(hex)?.blobSize }
    if let known { return try blob(location, hex, known, folder) }
    let tail = try fetchTail(location, deadline)
    let blob = try blob(location, hex, tail.total, folder)
    keep(tail, blob)
    return blob
  }

  private func blob(_ location: BlobLocation, _ hex: String, _ size: UInt64, _ folder: String?) throws(BlobError)
    -> RemoteBlob
  {
    var cached: ChunkFile?
    do throws(BlobError) { cached = try cache?.open(hex, size: size) } catch {
      if case .sizeMismatch = error { throw error }
      // A cache that does not work is slow, not a reason to have no disk.
      report(.troubled(error))
    }
    do throws(Errno) {
      return try RemoteBlob(location: location, size: size, folder: folder, cached: cached, clock: clock)
    } catch {
      throw .cache(what: "memory for it cannot be had", path: location.url, error)
    }
  }

  // MARK: A blob whose size nobody knows

  private struct Tail: @unchecked Sendable {
    let total: UInt64
    let range: Range<UInt64>
    let bytes: UnsafeMutableRawBufferPointer
  }

  private func fetchTail(_ location: BlobLocation, _ deadline: Deadline) throws(BlobError) -> Tail {
    let answer = OneShot<Result<Tail, BlobError>>()
    loop.perform { [self] in
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.suffixBytes, alignment: 4096)
      counters.fetchesAtomic.add(1, ordering: .relaxed)
      _ = origin.fetch(
        location, .suffix(buffer.count), into: buffer, deadline: deadline, progress: { _ in },
        completion: { result in
          switch result {
          case .success(let found):
            guard let total = found.totalSize else {
              buffer.deallocate()
              return answer.set(.failure(.sizeUnknown(blob: location.url)))
            }
            answer.set(.success(Tail(total: total, range: found.range, bytes: buffer)))
          case .failure(let error):
            buffer.deallocate()
            answer.set(.failure(.registry(error)))
          }
        })
    }
    guard let result = answer.wait(deadline) else {
      throw .timedOut(blob: location.url, offset: 0, wanted: Self.suffixBytes)
    }
    return try result.get()
  }

  /// Keeps the whole chunks of a tail.
  private func keep(_ tail: Tail, _ blob: RemoteBlob) {
    loop.perform { [self] in
      defer { tail.bytes.deallocate() }
      for chunk in 0..<blob.chunkCount {
        let bytes = blob.bytes(of: chunk..<chunk + 1)
        guard bytes.lowerBound >= tail.range.lowerBound, bytes.upperBound <= tail.range.upperBound else { continue }
        let start = Int(bytes.lowerBound - tail.range.lowerBound)
        keep(blob, chunk, UnsafeRawBufferPointer(rebasing: tail.bytes[start..<start + bytes.count]))
      }
    }
  }

  // MARK: Reading on a thread that may wait

  /// Fills `buffer` from `offset` of the blob's file, or throws.
  public func read(
    _ blob: RemoteBlob, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, _ fetchClass: FetchClass,
    deadline: Deadline
  ) throws(BlobError) {
    if buffer.isEmpty { return }
    while true {
      do throws(Errno) { if try blob.readHere(buffer, at: offset) { return } } catch {
        throw .read(path: blob.name, offset: offset, wanted: buffer.count, error)
      }
      try bring(blob, offset..<offset + UInt64(buffer.count), fetchClass, deadline: deadline)
    }
  }

  /// Waits until all of `range` is here.
  public func bring(
    _ blob: RemoteBlob, _ range: Range<UInt64>, _ fetchClass: FetchClass, deadline: Deadline
  ) throws(BlobError) {
    let answer = OneShot<BlobError?>()
    want(blob, range, fetchClass, deadline: deadline) { answer.set($0) }
    // The loop ends the wait at the deadline; a loop that does not is stuck.
    guard let result = answer.wait(Deadline(milliseconds: Int(deadline.remaining / 1_000_000) + 2000)) else {
      throw .timedOut(blob: blob.name, offset: range.lowerBound, wanted: range.count)
    }
    if let result { throw result }
  }
}
