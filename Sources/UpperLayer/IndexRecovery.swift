import LSMT
import Posix

/// Reads the index file of an append-only layer into memory, as far as it can be believed.
///
/// Entries are taken in file order, later ones win. Dropped are blank ones, which a power loss leaves where a file grew
/// before its bytes were stored, and those whose data is not there; an entry of which a part is there keeps it. A zeroed
/// entry needs no data, whatever place it names.
///
/// What a killed server left pending comes behind all that was in the file when it last said so. What follows there is
/// either the beginning of just that, on its way into the file, or was appended by another program since, and is newer.
struct IndexRecovery {
  /// The end of the data that is there, sectors.
  let dataEnd: UInt64
  let index: UpperIndex
  let log: PendingLog
  var report = RecoveryReport()

  /// Where the next entry goes, bytes in the index file.
  private(set) var indexEnd = UInt64(LayerRecord.size)
  /// Whether something must go that is not at the end of the file.
  private(set) var needsRewrite = false
  /// Whether the file has something behind ``indexEnd`` that other readers would refuse.
  private(set) var hasBadTail = false

  /// Where the file ended when the log was last told; nil when there is nothing pending, or nothing known of it.
  private let pendingPosition: UInt64?
  private var nextPending: UInt64
  private var isBehindPending = false
  private var badRun = false

  init(dataEnd: UInt64, index: UpperIndex, log: PendingLog, indexInode: UInt64, indexSize: UInt64) {
    self.dataEnd = dataEnd
    self.index = index
    self.log = log
    nextPending = log.done
    if log.count > 0, let position = log.indexPosition, position.inode == indexInode,
      position.end >= UInt64(LayerRecord.size), position.end <= indexSize
    {
      pendingPosition = position.end
    } else {
      pendingPosition = nil
    }
  }

  /// Reads all of it.
  mutating func run(_ disk: some UpperDisk) throws(Errno) {
    let size = try disk.indexSize()
    let logBytes = size - UInt64(LayerRecord.size)
    report.tornIndexBytes = logBytes % UInt64(Segment.size)
    let end = size - report.tornIndexBytes
    var position = UInt64(LayerRecord.size)
    let chunkBytes = 1 << 20
    while position < end {
      let bytes = try disk.readIndex(Int(min(UInt64(chunkBytes), end - position)), at: position)
      // It was that long just now, and nobody else writes.
      if bytes.isEmpty { throw .ioError }
      for offset in stride(from: 0, to: bytes.count - bytes.count % Segment.size, by: Segment.size) {
        let (word0, word1) = bytes.withUnsafeBytes { buffer in
          (
            UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
            UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self))
          )
        }
        take(Segment(word0: word0, word1: word1), at: position + UInt64(offset))
      }
      position += UInt64(bytes.count)
    }
    hasBadTail = badRun || report.tornIndexBytes > 0
    insertPending()
  }

  private mutating func take(_ segment: Segment, at position: UInt64) {
    if let pendingPosition, !isBehindPending, position >= pendingPosition {
      if segment.isPadding { return }
      if nextPending < log.appended, log.entry(nextPending).words == segment.words {
        nextPending += 1
        return
      }
      if segment.length > 0 { insertPending() }
    }
    if segment.isPadding { return }
    guard let kept = believable(segment) else {
      badRun = true
      return
    }
    if badRun || kept.words != segment.words { needsRewrite = true }
    badRun = false
    if isBehindPending { report.foreignEntries += 1 }
    index.insert(kept, freed: { _, _ in })
    indexEnd = position + UInt64(Segment.size)
  }

  /// What of an entry of the file counts; nil when nothing does.
  private mutating func believable(_ segment: Segment) -> Segment? {
    guard segment.length > 0 else {
      report.blankEntries += 1
      return nil
    }
    let first = LayerWriter.firstDataSector
    if segment.isZeroed {
      if segment.moffset >= first, segment.moffset <= dataEnd { return segment }
      return Segment(offset: segment.offset, length: segment.length, moffset: first, isZeroed: true)
    }
    let length = UInt64(segment.length)
    if segment.moffset >= first, segment.moffset <= dataEnd, length <= dataEnd - segment.moffset { return segment }
    report.cutEntries += 1
    guard segment.moffset >= first, segment.moffset < dataEnd else {
      report.cutSectors += length
      return nil
    }
    report.cutSectors += length - (dataEnd - segment.moffset)
    return Segment(
      offset: segment.offset, length: UInt32(dataEnd - segment.moffset), moffset: segment.moffset, tag: segment.tag)
  }

  private mutating func insertPending() {
    if isBehindPending { return }
    // Only what comes behind a known position is somebody else's.
    isBehindPending = true
    for number in log.done..<log.appended {
      let segment = log.entry(number)
      let cutBefore = report.cutEntries
      let sectorsBefore = report.cutSectors
      let blankBefore = report.blankEntries
      guard let kept = believable(segment), kept.words == segment.words else {
        (report.cutEntries, report.cutSectors, report.blankEntries) = (cutBefore, sectorsBefore, blankBefore)
        report.voidEntries += 1
        // It must not get into the file.
        needsRewrite = true
        continue
      }
      report.replayedEntries += 1
      index.insert(kept, freed: { _, _ in })
    }
  }
}
