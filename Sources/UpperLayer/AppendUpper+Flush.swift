import Glibc
import LSMT
import Posix

/// A flush: the data is synchronized, then the entries that were pending before go into the index file, then that is
/// synchronized, then they are not pending any more. So an entry that a power loss leaves in the file has its data.
extension AppendUpper {
  /// Returns when all that was acknowledged before the call is durable. Callers that come while one runs share the next.
  ///
  /// When the data could not be synchronized the kernel may have dropped it and forgets the error, so from then on every
  /// flush fails with `EIO`. After any other error the next flush tries all of it again.
  func flush() throws(Errno) {
    turn.lock()
    // One that runs already may have begun before what the caller wants to be durable.
    let wanted = startedFlushes &+ 1
    while endedFlushes < wanted {
      if isBusy {
        turn.wait()
        continue
      }
      flushInTurn()
    }
    let error = flushError
    turn.unlock()
    if let error { throw error }
  }

  /// HOT: ``flush()``, for a thread that must not wait for others. False, and nothing was done, when somebody else changes
  /// the index file or a new one is due, which takes as long as much is mapped.
  func flushNow() throws(Errno) -> Bool {
    turn.lock()
    if isBusy || folderNeedsSync || isNewIndexDue {
      turn.unlock()
      return false
    }
    flushInTurn()
    let error = flushError
    turn.unlock()
    if let error { throw error }
    return true
  }

  /// One flush, while it is nobody's turn; ``turn`` is held before and after.
  @inline(__always)
  private func flushInTurn() {
    isBusy = true
    startedFlushes &+= 1
    let number = startedFlushes
    turn.unlock()
    var failure: Errno?
    do throws(Errno) { try synchronize() } catch { failure = error }
    turn.lock()
    isBusy = false
    endedFlushes = number
    flushError = failure
    turn.wakeAll()
  }

  private var isNewIndexDue: Bool {
    commit.lock()
    defer { commit.unlock() }
    return isNewIndexWanted || isCompactionDue
  }

  /// Runs `body` while nobody else changes the index file.
  func takingTurn<T, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
    turn.lock()
    while isBusy { turn.wait() }
    isBusy = true
    turn.unlock()
    defer {
      turn.lock()
      isBusy = false
      turn.wakeAll()
      turn.unlock()
    }
    return try body()
  }

  /// One flush, by who has the turn.
  func synchronize() throws(Errno) {
    if isPoisoned { throw .ioError }
    commit.lock()
    let limit = log.appended
    flushLimit = limit
    let isWanted = isNewIndexWanted
    isNewIndexWanted = false
    let segments = isWanted || isCompactionDue ? index.segments() : nil
    commit.unlock()
    let first = log.done
    if first == limit, !needsSync, !folderNeedsSync, !isWanted { return }
    do throws(Errno) { try disk.synchronizeData() } catch {
      isPoisoned = true
      log.noteFailedSync()
      throw .ioError
    }
    if let segments, (try? replaceIndex(with: segments, covering: limit)) != nil {
      // Before anything that takes long: if the server is killed meanwhile and somebody else writes to the layer, entries
      // that were still pending would be applied on top of that. After a power loss the log does not count.
      finish(upTo: limit, at: indexEnd)
      try synchronizeFolder()
    } else {
      var position = indexEnd
      try log.withBytes(first..<limit) { bytes throws(Errno) in
        try disk.writeIndex(bytes, at: position)
        position += UInt64(bytes.count)
      }
      try disk.synchronizeIndex()
      if folderNeedsSync { try synchronizeFolder() }
      finish(upTo: limit, at: position)
    }
    needsSync = false
  }

  /// The entries of the log below `count` are durable in the index file, which goes on at byte `position`.
  func finish(upTo count: UInt64, at position: UInt64) {
    commit.lock()
    indexEnd = position
    reservedEnd = max(reservedEnd, position)
    log.finish(upTo: count, indexInode: indexInode, indexEnd: position)
    commit.unlock()
  }

  func synchronizeFolder() throws(Errno) {
    try disk.synchronizeFolder()
    folderNeedsSync = false
  }

  // MARK: Room

  /// Writes padding, which every reader skips, behind the index, for at least `entries` pending entries.
  ///
  /// So a full disk refuses writes and not the flush after them, and a flush overwrites blocks that are there, for which
  /// no file system has to write its journal.
  func reserveIndex(entries: UInt64) throws(Errno) {
    try takingTurn { () throws(Errno) in
      let unit = UInt64(Segment.size)
      if (reservedEnd - indexEnd) / unit >= entries { return }
      let generous = min(log.capacity, max(4096, 2 * entries))
      do throws(Errno) {
        try extendReserve(to: indexEnd + generous * unit)
      } catch {
        if error != .noSpace && error != .quota { throw error }
        try extendReserve(to: indexEnd + entries * unit)
      }
    }
  }

  private func extendReserve(to end: UInt64) throws(Errno) {
    do throws(Errno) {
      try disk.writeIndex(Self.paddingEntries((end - reservedEnd) / UInt64(Segment.size)), at: reservedEnd)
    } catch {
      // What was written of it may end within an entry.
      try? disk.resizeIndex(to: reservedEnd)
      throw error
    }
    commit.lock()
    reservedEnd = end
    commit.unlock()
  }

  private static func paddingEntries(_ count: UInt64) -> [UInt8] {
    let words = Segment.padding.words
    return [UInt8](unsafeUninitializedCapacity: Int(count) * Segment.size) { buffer, size in
      let bytes = UnsafeMutableRawBufferPointer(buffer)
      for offset in stride(from: 0, to: bytes.count, by: Segment.size) {
        bytes.storeBytes(of: words.0.littleEndian, toByteOffset: offset, as: UInt64.self)
        bytes.storeBytes(of: words.1.littleEndian, toByteOffset: offset + 8, as: UInt64.self)
      }
      size = bytes.count
    }
  }

  // MARK: A new index file

  /// Whether the index file has grown far beyond what is mapped: it takes time to read, and readers have a limit.
  private var isCompactionDue: Bool {
    let entries = (indexEnd - UInt64(LayerRecord.size)) / UInt64(Segment.size)
    return entries > compactionFloor && entries / 4 > UInt64(index.segmentCount)
  }

  /// Puts a new index file in the place of the old one, with `segments`, which say what the entries up to number
  /// `limit` say. The name is durable only after ``synchronizeFolder()``.
  func replaceIndex(with segments: [Segment], covering limit: UInt64, reserve: UInt64? = nil) throws(Errno) {
    let reserved = reserve ?? (reservedEnd - indexEnd) / UInt64(Segment.size)
    var bytes = indexHeader
    bytes.reserveCapacity(bytes.count + (segments.count + Int(reserved)) * Segment.size)
    for segment in segments { bytes.append(segment) }
    let end = UInt64(bytes.count)
    bytes += Self.paddingEntries(reserved)
    do throws(Errno) { try disk.replaceIndex(with: bytes) } catch {
      // Not at every flush from now on.
      compactionFloor = (indexEnd - UInt64(LayerRecord.size)) / UInt64(Segment.size) * 5 / 4
      throw error
    }
    folderNeedsSync = true
    indexInode = inodeOfIndex
    commit.lock()
    indexEnd = end
    reservedEnd = UInt64(bytes.count)
    commit.unlock()
  }

  /// Of the index file in place. It was opened, so the kernel knows it.
  private var inodeOfIndex: UInt64 { (try? disk.indexInode()) ?? 0 }
}

extension [UInt8] {
  /// An entry as it is on disk.
  mutating func append(_ segment: Segment) {
    let (word0, word1) = segment.words
    Swift.withUnsafeBytes(of: word0.littleEndian) { append(contentsOf: $0) }
    Swift.withUnsafeBytes(of: word1.littleEndian) { append(contentsOf: $0) }
  }
}
