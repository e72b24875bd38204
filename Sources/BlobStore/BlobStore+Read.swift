import Posix

/// Reading on a thread that may wait.
extension BlobStore {
  /// Fills `buffer` from `offset` of the blob's file, or throws.
  public func read(
    _ blob: RemoteBlob, into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, _ fetchClass: FetchClass,
    deadline: Deadline
  ) throws(BlobError) {
    guard UInt64(buffer.count) <= blob.size, offset <= blob.size - UInt64(buffer.count) else {
      throw .outOfBounds(path: blob.name, offset: offset, wanted: buffer.count, payloadEnd: blob.size)
    }
    var done = 0
    while done < buffer.count {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done...].prefix(Int(Self.waitBytesMax / 2)))
      try readPart(blob, part, at: offset + UInt64(done), fetchClass, deadline)
      done += part.count
    }
  }

  private func readPart(
    _ blob: RemoteBlob, _ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, _ fetchClass: FetchClass,
    _ deadline: Deadline
  ) throws(BlobError) {
    let range = offset..<offset + UInt64(buffer.count)
    var isRepaired = false
    while true {
      do throws(Errno) { if try blob.readHere(buffer, at: offset) { return } } catch {
        // The disk under the cache cannot be read there: once more from the registry.
        if isRepaired { throw .read(path: blob.name, offset: offset, wanted: buffer.count, error) }
        isRepaired = true
        let answer = OneShot<BlobError?>()
        repair(blob, range, nil, deadline: deadline) { answer.set($0) }
        try wait(answer, blob, range, deadline)
        continue
      }
      try bring(blob, range, fetchClass, deadline: deadline)
      // Whatever is brought may be dropped before it is read, as often as it is brought.
      if deadline.hasPassed, (try? blob.readHere(buffer, at: offset)) != true {
        throw .timedOut(blob: blob.name, offset: offset, wanted: buffer.count)
      }
    }
  }

  /// Waits until all of `range` is here.
  public func bring(
    _ blob: RemoteBlob, _ range: Range<UInt64>, _ fetchClass: FetchClass, deadline: Deadline
  ) throws(BlobError) {
    let answer = OneShot<BlobError?>()
    want(blob, range, fetchClass, deadline: deadline) { answer.set($0) }
    try wait(answer, blob, range, deadline)
  }

  private func wait(
    _ answer: OneShot<BlobError?>, _ blob: RemoteBlob, _ range: Range<UInt64>, _ deadline: Deadline
  ) throws(BlobError) {
    // The loop ends the wait at the deadline; a loop that does not is stuck.
    guard let result = answer.wait(Deadline(milliseconds: Int(deadline.remaining / 1_000_000) + 2000)) else {
      throw .timedOut(
        blob: blob.name, offset: range.lowerBound, wanted: Int(clamping: range.upperBound - range.lowerBound))
    }
    if let result { throw result }
  }
}
