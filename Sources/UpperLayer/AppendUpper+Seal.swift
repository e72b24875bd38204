import Glibc
import LSMT
import Posix

/// Why an open layer cannot be sealed or resized.
enum UpperChangeError: Error {
  case system(call: String, Errno)
  case layer(LSMTError)
  case tooManyEntries(Int)
}

extension AppendUpper {
  /// See ``Upper/seal()``.
  ///
  /// The index goes behind the data and is synchronized, then the trailer comes, which alone makes it a sealed layer. All
  /// that a trailer says is in its first sector, so a power loss leaves the layer writable or sealed.
  func seal() throws(UpperChangeError) {
    try takingTurn { () throws(UpperChangeError) in
      try UpperChangeError.describing("flushing it before it is sealed") { () throws(Errno) in try synchronize() }
      commit.lock()
      if let refusal {
        commit.unlock()
        throw .system(call: "sealing it", refusal)
      }
      let segments = index.segments()
      if segments.count > SealedIndex.maxEntries {
        commit.unlock()
        throw .tooManyEntries(segments.count)
      }
      // From here on nobody gets room, and who has some already is refused when it wants to map it.
      refusal = Errno(rawValue: EROFS)
      let end = dataEnd.exchange(Self.endMark, ordering: .sequentiallyConsistent)
      commit.unlock()
      do throws(Errno) {
        // What came between the flush and the lock.
        try synchronize()
        try append(segments, at: end)
      } catch {
        reopen(at: end)
        throw .system(call: "sealing it", error)
      }
    }
  }

  /// Writes the end of a sealed layer behind the data, which ends at byte `end`.
  private func append(_ segments: [Segment], at end: UInt64) throws(Errno) {
    // Room that was given back may lie behind it.
    try disk.resizeData(to: end)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(segments.count * Segment.size + sectorSize)
    for segment in segments { bytes.append(segment) }
    while bytes.count % sectorSize != 0 { bytes.append(0) }
    // Of a layer that nothing was written to there is no index.
    if !bytes.isEmpty { try disk.writeData(bytes, at: end) }
    try disk.synchronizeData()
    let flags = LayerRecord.Flag.dataFile | LayerRecord.Flag.sealed
    let trailer = LayerRecord(
      flags: flags, indexOffset: end, indexCount: UInt64(segments.count),
      virtualSize: deviceBytes.load(ordering: .acquiring), uuid: header.uuid, parentUUID: header.parentUUID)
    try disk.writeData(trailer.encoded(), at: end + UInt64(bytes.count))
    try disk.synchronizeData()
  }

  /// Makes the layer writable again after it could not be sealed.
  private func reopen(at end: UInt64) {
    // A trailer that came back after a power loss would speak of an index that was written over.
    let isCut = (try? disk.resizeData(to: end)) != nil && (try? disk.synchronizeData()) != nil
    commit.lock()
    refusal = isCut ? nil : .ioError
    commit.unlock()
    if isCut { dataEnd.store(end, ordering: .sequentiallyConsistent) }
  }

  // MARK: Size

  /// See ``Upper/resize(to:shrinks:hiding:)``; the size was checked.
  func resize(to bytes: UInt64, hiding hidden: [Range<UInt64>]) throws(UpperChangeError) {
    let sector = UInt64(sectorSize)
    let old = deviceBytes.load(ordering: .acquiring)
    if bytes < old {
      // Should the device grow again, nothing of what was there may come back.
      try UpperChangeError.describing("dropping what is beyond the new end") { () throws(Errno) in
        try zero(sector: bytes / sector, sectors: deviceSectors - bytes / sector, keepsSpace: false)
        try flush()
      }
    }
    try takingTurn { () throws(UpperChangeError) in
      commit.lock()
      defer { commit.unlock() }
      do throws(LSMTError) { try index.grow(to: bytes / sector) } catch { throw .layer(error) }
    }
    if !hidden.isEmpty {
      // Before there is a device that large: entries beyond the end of one are looked at by nobody.
      try UpperChangeError.describing("hiding what is below the new end") { () throws(Errno) in
        for range in hidden {
          try makeZeroes(sector: range.lowerBound, sectors: range.upperBound - range.lowerBound, keepsSpace: true)
        }
        try flush()
      }
    }
    try UpperChangeError.describing("writing the new size into its headers") { () throws(Errno) in
      try takingTurn { () throws(Errno) in try writeSize(bytes) }
    }
    deviceBytes.store(bytes, ordering: .releasing)
  }

  /// Writes the size of the device into both headers, by who has the turn; durable when it returns.
  func writeSize(_ bytes: UInt64) throws(Errno) {
    let size = withUnsafeBytes(of: bytes.littleEndian) { Array($0) }
    let offset = LayerRecord.virtualSizeOffset
    try disk.writeData(size, at: UInt64(offset))
    try disk.writeIndex(size, at: UInt64(offset))
    indexHeader.replaceSubrange(offset..<offset + size.count, with: size)
    try disk.synchronizeData()
    try disk.synchronizeIndex()
  }

  // MARK: The end

  /// Makes all that was acknowledged durable and refuses what comes; then the log has nothing any more.
  func close() throws(Errno) {
    commit.lock()
    if refusal == nil { refusal = Errno(rawValue: EBADF) }
    commit.unlock()
    try flush()
    // What a write that failed has left may end within a sector.
    let end = dataEnd.load(ordering: .acquiring)
    if end < Self.endMark, try disk.dataSize() != end { try disk.resizeData(to: end) }
    try takingTurn { () throws(Errno) in
      if reservedEnd == indexEnd { return }
      // Padding does no harm where it stays.
      try? disk.resizeIndex(to: indexEnd)
      commit.lock()
      reservedEnd = indexEnd
      commit.unlock()
    }
  }
}

extension UpperChangeError {
  fileprivate static func describing(_ call: String, _ body: () throws(Errno) -> Void) throws(UpperChangeError) {
    do throws(Errno) { try body() } catch { throw .system(call: call, error) }
  }
}

extension LayerRecord {
  /// Where the virtual size is in a header, bytes.
  static var virtualSizeOffset: Int { 48 }
}
