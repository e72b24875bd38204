import Glibc
import LSMT
import Posix
import Synchronization

/// A writable layer whose data is appended.
///
/// The way of a write: room at the end of the data file, one `pwritev` there, then under one short lock an entry in
/// the ``PendingLog`` and in the index in memory. After that it is acknowledged: it survives the process. A flush makes
/// the entries survive the machine, see `AppendUpper+Flush.swift`.
///
/// Blob sectors are never used twice. So whichever of its entries a power loss leaves, they name what was written for them.
final class AppendUpper<Disk: UpperDisk>: @unchecked Sendable {
  /// What one `pwritev` gathers: its vectors fit on the stack.
  static var piecesMax: Int { 64 }
  /// No room is handed out at or after this byte: the layer is sealed, or was closed.
  static var endMark: UInt64 { 1 << 62 }
  /// Data begins at multiples of a page of the host, so that discarding it frees whole blocks.
  static var pageBytes: UInt64 { 4096 }

  let disk: Disk
  let index: UpperIndex
  let log: PendingLog
  /// As in the file; ``LayerRecord/virtualSize`` may be out of date.
  let header: LayerRecord
  let report: RecoveryReport
  let deviceBytes: Atomic<UInt64>
  /// Where the next data goes, bytes.
  let dataEnd: Atomic<UInt64>

  /// Who has room at the end of the data and has not mapped it yet.
  let passage = Passage()
  let isCompacting = Atomic<Bool>(false)

  /// Held for the moment in which an entry gets its place.
  let commit = Gate()
  // Under `commit`.
  /// Entries of the log below this number are on their way into the file: they do not change any more.
  var flushLimit: UInt64
  /// Where the entries that are pending go, bytes in the index file. Changed by who has the turn.
  var indexEnd: UInt64
  /// Up to here the index file has room that was written: a full disk cannot keep a flush from it.
  var reservedEnd: UInt64
  /// Errors of whoever writes from here on.
  var refusal: Errno?

  /// Whose turn it is to change the index file.
  let turn = Gate()
  // Under `turn`.
  var isBusy = false
  var startedFlushes: UInt64 = 0
  var endedFlushes: UInt64 = 0
  var flushError: Errno?
  // Of who has the turn.
  var indexHeader: [UInt8]
  /// What tells the index file from those that it replaced.
  var indexInode: UInt64 = 0
  var isPoisoned = false
  /// Whether files may have something that was never synchronized, though nothing is pending.
  var needsSync = true
  /// Whether the index file may have a name that a power loss takes back: the server before may have been killed between
  /// giving it that and synchronizing the folder.
  var folderNeedsSync = true
  /// Whether the next flush writes the index file anew whatever it has. Under `commit`.
  var isNewIndexWanted = false
  /// The index file is written anew when it has more entries than this, and four times what is mapped.
  var compactionFloor: UInt64

  /// Reads the files and brings them in order; then `log` belongs to them. `header` and `indexHeader` were checked,
  /// and the size of the device is known.
  init(
    disk: Disk, log: PendingLog, header: LayerRecord, indexHeader: [UInt8], deviceBytes: UInt64,
    compactionFloor: UInt64
  ) throws(UpperOpenError) {
    precondition(log.capacity >= UInt64(2 * Self.piecesMax))
    self.disk = disk
    self.log = log
    self.header = header
    self.indexHeader = indexHeader
    self.compactionFloor = compactionFloor
    self.deviceBytes = Atomic(deviceBytes)
    do throws(LSMTError) {
      index = try UpperIndex(
        deviceSectors: deviceBytes / UInt64(sectorSize) + (deviceBytes % UInt64(sectorSize) == 0 ? 0 : 1))
    } catch { throw .layer(error) }
    do throws(Errno) {
      indexInode = try disk.indexInode()
      let size = try disk.dataSize()
      let sector = UInt64(sectorSize)
      var recovery = IndexRecovery(
        dataEnd: size / sector, index: index, log: log, indexInode: indexInode, indexSize: try disk.indexSize())
      recovery.report.hadLostData = log.hasFailedSync
      try recovery.run(disk)
      recovery.report.tornDataBytes = size % sector
      let roundedSize = (size + sector - 1) / sector * sector
      // Other writers append at the very end, and take its sector to be a whole one.
      if roundedSize != size { try disk.resizeData(to: roundedSize) }
      dataEnd = Atomic(roundedSize)
      indexEnd = recovery.indexEnd
      reservedEnd = indexEnd
      flushLimit = log.appended
      if recovery.needsRewrite || recovery.report.foreignEntries > 0 {
        recovery.report.hasRewrittenIndex = true
        report = recovery.report
        try disk.synchronizeData()
        try replaceIndex(with: index.segments(), covering: log.appended, reserve: 0)
        try synchronizeFolder()
        finish(upTo: log.appended, at: indexEnd)
      } else {
        report = recovery.report
        if recovery.hasBadTail {
          try disk.resizeIndex(to: indexEnd)
          // Before anything is appended to the data that the dropped entries would then name.
          try disk.synchronizeIndex()
        }
        let unit = UInt64(Segment.size)
        reservedEnd = max(indexEnd, try disk.indexSize() / unit * unit)
        log.finish(upTo: log.done, indexInode: indexInode, indexEnd: indexEnd)
      }
      log.clearFailedSync()
    } catch { throw .system(error) }
  }

  /// Sectors of the device.
  var deviceSectors: UInt64 { deviceBytes.load(ordering: .acquiring) / UInt64(sectorSize) }

  // MARK: Writing

  /// HOT: see ``Upper/write(_:)``.
  func write(_ pieces: UnsafeBufferPointer<UpperWrite>) throws(Errno) {
    var first = 0
    while first < pieces.count {
      let count = min(pieces.count &- first, Self.piecesMax)
      try writeBatch(UnsafeBufferPointer(rebasing: pieces[first..<first &+ count]))
      first &+= count
    }
  }

  /// Writes at most ``piecesMax`` pieces.
  private func writeBatch(_ pieces: UnsafeBufferPointer<UpperWrite>) throws(Errno) {
    let device = deviceSectors
    var byteCount: UInt64 = 0
    var entriesMax: UInt64 = 0
    for piece in pieces {
      guard piece.isWhole, piece.sectors <= device, piece.sector <= device &- piece.sectors else {
        throw .invalidArgument
      }
      byteCount &+= piece.sectors &* UInt64(sectorSize)
      entriesMax &+= piece.sectors / Segment.maxLength &+ 1
    }
    if byteCount == 0 { return }
    // A piece of gigabytes is for those who have time.
    if entriesMax > UInt64(2 * Self.piecesMax) { throw .invalidArgument }

    let ticket = passage.enter()
    defer { passage.leave(ticket) }
    let (previousEnd, start) = try reserve(byteCount)
    let error = withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.piecesMax) { vectors -> Errno? in
      var count = 0
      for piece in pieces where piece.bytes.count > 0 {
        vectors[count] = iovec(
          iov_base: UnsafeMutableRawPointer(mutating: piece.bytes.baseAddress), iov_len: piece.bytes.count)
        count &+= 1
      }
      do throws(Errno) {
        try disk.writeDataFully(UnsafeMutableBufferPointer(rebasing: vectors[..<count]), at: start)
        try lockWithRoom(for: entriesMax)
        return nil
      } catch { return error }
    }
    if let error {
      giveBack(start &+ byteCount, previousEnd)
      throw error
    }

    var blobSector = start / UInt64(sectorSize)
    var sector = pieces[0].sector
    var sectors: UInt64 = 0
    for piece in pieces {
      if piece.sector != sector &+ sectors {
        put(sector, sectors, blobSector)
        blobSector &+= sectors
        sector = piece.sector
        sectors = 0
      }
      sectors &+= piece.sectors
    }
    put(sector, sectors, blobSector)
    commit.unlock()
  }

  /// Room for `byteCount` bytes at the end of the data: where the end was, and where the room begins.
  @inline(__always)
  func reserve(_ byteCount: UInt64) throws(Errno) -> (previousEnd: UInt64, start: UInt64) {
    var end = dataEnd.load(ordering: .relaxed)
    while true {
      if end >= Self.endMark { throw Errno(rawValue: EROFS) }
      let start = byteCount >= Self.pageBytes ? (end &+ Self.pageBytes &- 1) & ~(Self.pageBytes &- 1) : end
      let (isExchanged, original) = dataEnd.weakCompareExchange(
        expected: end, desired: start &+ byteCount, ordering: .relaxed)
      if isExchanged { return (end, start) }
      end = original
    }
  }

  /// Takes room back in which nothing is mapped, if it still is the last. The file is not cut: somebody may already
  /// write there again.
  private func giveBack(_ end: UInt64, _ previousEnd: UInt64) {
    _ = dataEnd.compareExchange(expected: end, desired: previousEnd, ordering: .relaxed)
  }

  /// Takes the lock with room for `count` entries in the log and in the index file. Without it when it throws.
  @inline(__always)
  func lockWithRoom(for count: UInt64) throws(Errno) {
    commit.lock()
    while true {
      if let refusal {
        commit.unlock()
        throw refusal
      }
      let wanted = log.count &+ count
      if wanted <= log.capacity, wanted &* UInt64(Segment.size) <= reservedEnd &- indexEnd { return }
      commit.unlock()
      try makeRoom(for: wanted)
      commit.lock()
    }
  }

  @inline(never)
  private func makeRoom(for entries: UInt64) throws(Errno) {
    if entries > log.capacity { try flush() } else { try reserveIndex(entries: entries) }
  }

  /// Maps `sectors` sectors, with the lock held; with no blob sector they become zeroes.
  @inline(__always)
  func put(_ sector: UInt64, _ sectors: UInt64, _ blobSector: UInt64?, freed: (UInt64, UInt64) -> Void = { _, _ in }) {
    var offset = sector
    var rest = sectors
    var moffset = blobSector ?? LayerWriter.firstDataSector
    while rest > 0 {
      let length = min(rest, Segment.maxLength)
      let segment = Segment(
        offset: offset, length: UInt32(truncatingIfNeeded: length), moffset: moffset, isZeroed: blobSector == nil)
      if let joined = joined(segment) { log.extendLast(to: joined) } else { log.append(segment) }
      index.insert(segment, freed: freed)
      offset &+= length
      rest &-= length
      if blobSector != nil { moffset &+= length }
    }
  }

  /// The last entry, made longer by `segment`; nil where that is not the same as appending it.
  @inline(__always)
  private func joined(_ segment: Segment) -> Segment? {
    let appended = log.appended
    if appended <= flushLimit { return nil }
    let last = log.entry(appended &- 1)
    let length = last.length &+ segment.length
    guard last.end == segment.offset, last.isZeroed == segment.isZeroed, UInt64(length) <= Segment.maxLength,
      segment.isZeroed || last.moffset &+ UInt64(last.length) == segment.moffset
    else { return nil }
    return Segment(offset: last.offset, length: length, moffset: last.moffset, isZeroed: last.isZeroed)
  }

  /// Entries that no flush has covered.
  var pendingCount: Int { Int(log.count) }

  /// Bytes that the data file holds and nothing maps.
  var garbageBytes: UInt64 {
    guard let size = try? disk.dataSize(), let allocated = try? disk.allocatedDataBytes() else { return 0 }
    let used = index.dataSectors * UInt64(sectorSize) + UInt64(LayerRecord.size)
    let held = min(size, allocated)
    return held > used ? held - used : 0
  }
}

/// Why files that passed the checks cannot be opened all the same.
enum UpperOpenError: Error {
  case layer(LSMTError)
  case system(Errno)
}
