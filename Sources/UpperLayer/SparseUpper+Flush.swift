import Glibc
import LSMT
import Posix

/// Durability: the file is all there is. That a block which is allocated and written at once is there after a power loss
/// with all of it, or not at all, is what the host's file system promises (ordered data, or extents that are unwritten until
/// their data is stored).
extension SparseUpper {
  /// See ``Upper/flush()``.
  func flush() throws(Errno) {
    turn.lock()
    defer { turn.unlock() }
    try synchronize()
  }

  /// HOT: ``flush()``, for a thread that must not wait for others. False, and nothing was done, while somebody else has the
  /// turn, who may wait for the layers below.
  func flushNow() throws(Errno) -> Bool {
    guard turn.tryLock() else { return false }
    defer { turn.unlock() }
    try synchronize()
    return true
  }

  /// Makes durable what was written before, by who has the turn.
  func synchronize() throws(Errno) {
    if isPoisoned { throw .ioError }
    // Who writes from here on says so again.
    guard needsSync.exchange(false, ordering: .sequentiallyConsistent) else { return }
    try synchronizeData()
  }

  /// What could not be stored once is lost, and no later call says so: the kernel forgets.
  private func synchronizeData() throws(Errno) {
    do throws(Errno) { try disk.synchronizeData() } catch {
      isPoisoned = true
      throw .ioError
    }
  }

  /// Makes all that was acknowledged durable and refuses what comes.
  func close() throws(Errno) {
    _ = refusal.compareExchange(expected: 0, desired: EBADF, ordering: .sequentiallyConsistent)
    try flush()
  }

  /// How long writes that are under way are waited for, milliseconds.
  private static var writersMilliseconds: Int { 30_000 }

  /// Keeps writers out, with the turn held, and waits for those who are there.
  private func refuseWriters(_ call: String, _ error: Int32) throws(UpperChangeError) {
    let (isExchanged, refused) = refusal.compareExchange(
      expected: 0, desired: error, ordering: .sequentiallyConsistent)
    if !isExchanged { throw .system(call: call, Errno(rawValue: refused)) }
    if passage.drain(until: Deadline(milliseconds: Self.writersMilliseconds)) { return }
    refusal.store(0, ordering: .sequentiallyConsistent)
    throw .system(call: call + ": waiting for writes that are under way", Errno(rawValue: ETIMEDOUT))
  }

  private func changing(_ call: String, _ body: () throws(Errno) -> Void) throws(UpperChangeError) {
    do throws(Errno) { try body() } catch { throw .system(call: call, error) }
  }

  // MARK: Sealing

  /// See ``Upper/seal()``. The index goes behind the device's data and is synchronized, then the trailer comes, which
  /// alone makes it a sealed layer.
  func seal() throws(UpperChangeError) {
    turn.lock()
    defer { turn.unlock() }
    try refuseWriters("sealing it", EROFS)
    let segments = mapped
    let size = UInt64(LayerRecord.size) + deviceBytes.load(ordering: .acquiring)
    do throws(UpperChangeError) {
      if segments.count > SealedIndex.maxEntries { throw .tooManyEntries(segments.count) }
      try changing("sealing it") { () throws(Errno) in try append(segments, behind: size) }
    } catch {
      // A trailer that came back after a power loss would speak of an index that is not there.
      let isCut =
        !isPoisoned && (try? disk.resizeData(to: size)) != nil && (try? disk.synchronizeData()) != nil
      refusal.store(isCut ? 0 : EIO, ordering: .sequentiallyConsistent)
      throw error
    }
  }

  /// What is mapped of the device: it may have been larger.
  private var mapped: [Segment] {
    let end = deviceEnd
    return index.segments().compactMap { segment in
      if segment.offset >= end { return nil }
      return Segment(
        offset: segment.offset, length: UInt32(min(segment.end, end) - segment.offset), moffset: segment.moffset)
    }
  }

  private func append(_ segments: [Segment], behind size: UInt64) throws(Errno) {
    needsSync.store(true, ordering: .sequentiallyConsistent)
    try synchronize()
    var bytes: [UInt8] = []
    bytes.reserveCapacity(segments.count * Segment.size + sectorSize)
    for segment in segments { bytes.append(segment) }
    while bytes.count % sectorSize != 0 { bytes.append(0) }
    // Not in the device's last block: that would be allocated, and be data should the rest of this not come to pass.
    let block = UInt64(Self.blockBytes)
    let start = (size + block - 1) / block * block
    // Of a layer that nothing was written to there is no index.
    if bytes.isEmpty { try disk.resizeData(to: start) } else { try disk.writeData(bytes, at: start) }
    try synchronizeData()
    let trailer = LayerRecord(
      flags: LayerRecord.Flag.dataFile | LayerRecord.Flag.sealed | LayerRecord.Flag.sparse, indexOffset: start,
      indexCount: UInt64(segments.count), virtualSize: deviceBytes.load(ordering: .acquiring), uuid: header.uuid,
      parentUUID: header.parentUUID)
    try disk.writeData(trailer.encoded(), at: start + UInt64(bytes.count))
    try synchronizeData()
  }

  // MARK: Size

  /// See ``Upper/resize(to:shrinks:)``; the size was checked.
  ///
  /// The file is never shorter than its header says. What it has beyond that after a crash is cut off by the next opening.
  func resize(to bytes: UInt64) throws(UpperChangeError) {
    turn.lock()
    defer { turn.unlock() }
    if bytes < deviceBytes.load(ordering: .acquiring) { try shrink(to: bytes) } else { try grow(to: bytes) }
  }

  private func shrink(to bytes: UInt64) throws(UpperChangeError) {
    let call = "making it smaller"
    try refuseWriters(call, EBUSY)
    defer { refusal.store(0, ordering: .sequentiallyConsistent) }
    try changing(call) { () throws(Errno) in
      try writeSize(bytes)
      deviceBytes.store(bytes, ordering: .releasing)
      try disk.resizeData(to: UInt64(LayerRecord.size) + bytes)
      try synchronizeData()
    }
  }

  private func grow(to bytes: UInt64) throws(UpperChangeError) {
    let sectors = bytes / UInt64(sectorSize)
    commit.lock()
    var failure: LSMTError?
    do throws(LSMTError) { try index.grow(to: sectors) } catch { failure = error }
    commit.unlock()
    if let failure { throw .layer(failure) }
    try changing("making it larger") { () throws(Errno) in
      try disk.resizeData(to: UInt64(LayerRecord.size) + bytes)
      let first = deviceEnd
      // Layers below must not show what they have there.
      var next = first
      while next < sectors, let below = lowers?.stored(next..<sectors) {
        try store(below)
        next = below.upperBound
      }
      needsSync.store(true, ordering: .sequentiallyConsistent)
      try synchronize()
      try writeSize(bytes)
      commit.lock()
      defer { commit.unlock() }
      // The last block may have been cut by the end: allocated, all of it is mapped, also by the next opening.
      let blockEnd = min((first + Self.blockSectors - 1) / Self.blockSectors * Self.blockSectors, sectors)
      if first < blockEnd, isMapped(first - 1, first) { map(first..<blockEnd) }
      deviceBytes.store(bytes, ordering: .releasing)
    }
  }

  /// Writes the size of the device into the header; durable when it returns.
  func writeSize(_ bytes: UInt64) throws(Errno) {
    try disk.writeData(
      withUnsafeBytes(of: bytes.littleEndian) { Array($0) }, at: UInt64(LayerRecord.virtualSizeOffset))
    try synchronizeData()
  }
}
