import Glibc
import LSMT
import Posix

/// Giving back what nothing maps any more, while the layer is used. No data is moved.
///
/// The space of a page may go when nobody will ask for it again:
///
/// - No later entry maps it. Blob sectors are handed out once, so that is so as soon as all who had room in front of a
///   mark have mapped it or given up, and the index has been looked at after that.
/// - No entry that a crash leaves in force maps it: a flush after the look makes what replaced it durable.
/// - Nobody reads it who looked it up before: the caller waits for those.
extension AppendUpper {
  /// See ``Upper/compact(bytesPerSecond:writersDeadline:waitForReaders:shouldGoOn:)``.
  func compact(
    bytesPerSecond: UInt64?, writersDeadline: Deadline, waitForReaders: () -> Bool,
    shouldGoOn: (CompactionProgress) -> Bool
  ) throws(UpperChangeError) -> CompactionReport {
    guard isCompacting.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
      throw .system(call: "compacting it, which is under way already", Errno(rawValue: EBUSY))
    }
    defer { isCompacting.store(false, ordering: .releasing) }
    var report = CompactionReport()
    let byteCount: UInt64
    do throws(Errno) {
      if let refusal = currentRefusal { throw refusal }
      // A sector of nobody's: whoever has room in front of it cannot give it back to others from here on.
      let mark = try reserve(UInt64(sectorSize)).start
      guard passage.drain(until: writersDeadline) else {
        report.outcome = .writersDidNotEnd
        return report
      }
      // Room behind the end of the file is handed out again by the next one who opens it.
      byteCount = min(mark, try disk.dataSize())
    } catch { throw .system(call: "compacting it", error) }
    let pages = PageMap(byteCount: byteCount)
    index.forEachDataRun { pages.insert($0, $1) }
    report.progress.deadBytes = pages.freeCount * PageMap.pageBytes
    do throws(Errno) {
      report.indexEntriesBefore = demandNewIndex()
      try flush()
      report.indexEntriesAfter = indexFileEntries
    } catch { throw .system(call: "flushing it before its garbage is given back", error) }
    guard waitForReaders() else {
      report.outcome = .readersDidNotEnd
      return report
    }
    do throws(Errno) {
      let isComplete = try punch(pages, bytesPerSecond, &report.progress, shouldGoOn)
      if !isComplete { report.outcome = .cancelled }
    } catch {
      throw .system(call: "giving the space of what was overwritten back (FALLOC_FL_PUNCH_HOLE)", error)
    }
    return report
  }

  /// Gives back what is stored of the pages that nothing maps. False when it was told to stop.
  private func punch(
    _ pages: borrowing PageMap, _ bytesPerSecond: UInt64?, _ progress: inout CompactionProgress,
    _ shouldGoOn: (CompactionProgress) -> Bool
  ) throws(Errno) -> Bool {
    // Ten steps a second, so that neither the disk nor whoever wants to stop this waits for long.
    let step = min(max((bytesPerSecond ?? .max) / 10, PageMap.pageBytes), 64 << 20) / PageMap.pageBytes
    let pace = Pace(bytesPerSecond: bytesPerSecond)
    var page: UInt64 = 0
    // What is known of the file from `page` on: nothing, or that it stores nothing up to there.
    var storedPage: UInt64 = 0
    while let free = pages.nextFree(from: page) {
      page = free.lowerBound
      while page < free.upperBound {
        if storedPage <= page {
          guard let stored = try disk.nextData(from: page * PageMap.pageBytes) else {
            progress.doneBytes = progress.deadBytes
            return shouldGoOn(progress)
          }
          storedPage = stored.lowerBound / PageMap.pageBytes
          if storedPage <= page {
            let storedEnd = (stored.upperBound + PageMap.pageBytes - 1) / PageMap.pageBytes
            let end = min(free.upperBound, storedEnd, page + step)
            guard currentRefusal == nil, shouldGoOn(progress) else { return false }
            let bytes = (end - page) * PageMap.pageBytes
            try disk.punchData(at: page * PageMap.pageBytes, count: bytes)
            progress.freedBytes += bytes
            progress.doneBytes += bytes
            page = end
            while let milliseconds = pace.pause(after: progress.freedBytes) {
              guard shouldGoOn(progress) else { return false }
              usleep(milliseconds * 1000)
            }
            continue
          }
        }
        let end = min(free.upperBound, storedPage)
        progress.doneBytes += (end - page) * PageMap.pageBytes
        page = end
      }
    }
    return shouldGoOn(progress)
  }

  /// Why nobody may write any more, if so.
  private var currentRefusal: Errno? {
    commit.lock()
    defer { commit.unlock() }
    return refusal
  }

  private var indexFileEntries: UInt64 {
    commit.lock()
    defer { commit.unlock() }
    return (indexEnd - UInt64(LayerRecord.size)) / UInt64(Segment.size)
  }

  /// Lets the next flush write a new index file, if it is shorter than the old one. Returns the entries of the old one
  /// and of the log.
  private func demandNewIndex() -> UInt64 {
    commit.lock()
    defer { commit.unlock() }
    let entries = (indexEnd - UInt64(LayerRecord.size)) / UInt64(Segment.size) + log.count
    if entries > UInt64(index.segmentCount) { isNewIndexWanted = true }
    return entries
  }
}

/// Keeps a stream of work to so many bytes a second.
private struct Pace {
  private let bytesPerSecond: UInt64?
  private let start = monotonicNanoseconds()

  init(bytesPerSecond: UInt64?) { self.bytesPerSecond = bytesPerSecond.map { max(1, $0) } }

  /// How long to wait after `bytes` bytes, in steps of at most 100 ms; nil when it is time to go on.
  func pause(after bytes: UInt64) -> UInt32? {
    guard let bytesPerSecond else { return nil }
    let due = Double(bytes) / Double(bytesPerSecond) * 1e3
    let left = due - Double(monotonicNanoseconds() - start) / 1e6
    return left < 1 ? nil : UInt32(min(left, 100))
  }
}
