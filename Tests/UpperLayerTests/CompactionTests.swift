import Foundation
import Glibc
import LSMT
import Posix
import Synchronization
import TestSupport
import Testing

@testable import UpperLayer

/// Bytes that a file occupies on its disk.
private func storedBytes(_ path: String) -> UInt64 {
  var status = stat()
  return stat(path, &status) == 0 ? UInt64(status.st_blocks) * 512 : 0
}

@Suite("Compaction of a writable layer in use")
struct CompactionTests {
  /// A layer of 64 MiB whose first `pages` pages were written `versions` times, in a scattered order.
  private func overwritten(_ place: Place, pages: UInt64, versions: UInt64) throws -> Upper {
    try place.create()
    let upper = try place.open()
    for version in 1...versions {
      for step in 0..<pages {
        // Any order in which neighbours do not follow each other; `pages` is a power of two.
        let page = step * 37 % pages
        try upper.write([(page * 8, sectorsBytes(page * 8, 8, version))])
      }
    }
    return upper
  }

  private func check(_ upper: Upper, pages: UInt64, version: UInt64) throws {
    #expect(try read(upper, sector: 0, sectors: pages * 8) == sectorsBytes(0, pages * 8, version))
  }

  @Test("The space of overwritten data is given back, the index file has what is mapped, and nothing else changes")
  func overwrittenData() throws {
    let place = try Place()
    let upper = try overwritten(place, pages: 256, versions: 5)
    var waits = 0
    let report = try upper.compact(waitForReaders: {
      waits += 1
      // What replaced the garbage is durable by now.
      #expect(upper.pendingCount == 0)
      #expect(storedBytes(place.files.data) >= 5 * 256 * 4096)
      return true
    })
    #expect(waits == 1 && report.outcome == .complete)
    let garbage: UInt64 = 4 * 256 * 4096
    #expect(report.progress == CompactionProgress(deadBytes: garbage, doneBytes: garbage, freedBytes: garbage))
    #expect(report.indexEntriesBefore == 5 * 256 && report.indexEntriesAfter == 256)
    #expect(upper.garbageBytes < 64 << 10 && storedBytes(place.files.data) < 257 * 4096 + 64 << 10)
    try check(upper, pages: 256, version: 5)
    // Again: there is nothing left to do.
    let again = try upper.compact(waitForReaders: { true })
    #expect(again.outcome == .complete && again.progress.freedBytes == 0 && again.progress.deadBytes == garbage)
    #expect(again.indexEntriesAfter == report.indexEntriesAfter)
    try upper.close()
    let log = try decodeIndexLog([UInt8](Data(contentsOf: URL(fileURLWithPath: place.files.index))).span.bytes)
    #expect(log.replayed().reduce(0) { $0 + Int($1.length) } == 256 * 8)
    let reopened = try place.open()
    #expect(reopened.recovery.isClean)
    try check(reopened, pages: 256, version: 5)
    try reopened.close()
  }

  @Test("Pages of which a sector is mapped stay, and so do zeroes and what is not mapped")
  func partsOfPages() throws {
    let place = try Place()
    try place.create()
    let upper = try place.open()
    try upper.write([(0, sectorsBytes(0, 64, 1))])
    // One sector of the third page stays; the last ones become zeroes.
    try upper.write([(0, sectorsBytes(0, 19, 2))])
    try upper.write([(20, sectorsBytes(20, 30, 2))])
    try upper.zero(sector: 50, sectors: 14, keepsSpace: true)
    let report = try upper.compact(waitForReaders: { true })
    // 8 pages were written first, 1 is kept.
    #expect(report.progress.freedBytes == 7 * 4096)
    #expect(try read(upper, sector: 0, sectors: 19) == sectorsBytes(0, 19, 2))
    #expect(try read(upper, sector: 19, sectors: 1) == sectorBytes(19, 1))
    #expect(try read(upper, sector: 20, sectors: 30) == sectorsBytes(20, 30, 2))
    #expect(upper.index.view.piece(at: 50, limit: 14) == UpperPiece(kind: .zeroes, sectors: 14, blobSector: 0))
    #expect(upper.index.view.piece(at: 64, limit: 8).kind == .unmapped)
    try upper.close()
  }

  @Test("Readers that do not end keep everything where it is")
  func readersThatDoNotEnd() throws {
    let place = try Place()
    let upper = try overwritten(place, pages: 64, versions: 3)
    let before = storedBytes(place.files.data)
    let report = try upper.compact(waitForReaders: { false })
    #expect(report.outcome == .readersDidNotEnd && report.progress.freedBytes == 0)
    #expect(storedBytes(place.files.data) >= before)
    #expect(try upper.compact(waitForReaders: { true }).progress.freedBytes == 2 * 64 * 4096)
    try upper.close()
  }

  @Test("Writers that do not end keep everything where it is, also for the next call")
  func writersThatDoNotEnd() throws {
    let place = try Place()
    let upper = try overwritten(place, pages: 64, versions: 3)
    let ticket = upper.append!.passage.enter()
    for _ in 0..<3 {
      let report = try upper.compact(
        writersDeadline: Deadline(milliseconds: 20),
        waitForReaders: {
          Issue.record("too early")
          return true
        })
      #expect(report.outcome == .writersDidNotEnd && report.progress == CompactionProgress())
      // Those who come later are not waited for, and pass.
      try upper.write([(0, sectorsBytes(0, 8, 4))])
    }
    upper.append!.passage.leave(ticket)
    #expect(try upper.compact(waitForReaders: { true }).outcome == .complete)
    try upper.close()
  }

  @Test("Room that a failed write gave up is not taken for garbage while others write there")
  func roomThatWasGivenUp() throws {
    let place = try Place()
    let upper = try overwritten(place, pages: 8, versions: 1)
    // Reserved, not written, and behind the end of the file.
    let end = upper.append!.dataEnd.load(ordering: .relaxed)
    let room = try upper.append!.reserve(1 << 20)
    let report = try upper.compact(waitForReaders: { true })
    #expect(report.progress.deadBytes == 0 && upper.append!.dataEnd.load(ordering: .relaxed) > room.start + 1 << 20)
    #expect(room.previousEnd == end)
    try upper.write([(64, sectorsBytes(64, 8, 2))])
    #expect(upper.index.view.piece(at: 64, limit: 8).blobSector * 512 > room.start + 1 << 20)
    try upper.close()
  }

  @Test("It keeps to its pace, tells how far it is, and stops when told to")
  func paceAndCancellation() throws {
    let place = try Place()
    let upper = try overwritten(place, pages: 256, versions: 2)
    var steps: [CompactionProgress] = []
    let start = monotonicNanoseconds()
    let cancelled = try upper.compact(
      bytesPerSecond: 2 << 20, waitForReaders: { true },
      shouldGoOn: {
        steps.append($0)
        return $0.freedBytes < 512 << 10
      })
    #expect(cancelled.outcome == .cancelled)
    #expect(cancelled.progress.freedBytes >= 512 << 10 && cancelled.progress.freedBytes < 1 << 20)
    // The first bytes are free of charge, and the last step is not waited for.
    #expect(monotonicNanoseconds() - start > 100_000_000 && steps.count >= 3)
    #expect(zip(steps, steps.dropFirst()).allSatisfy { $0.doneBytes <= $1.doneBytes && $0.deadBytes == $1.deadBytes })
    try check(upper, pages: 256, version: 2)
    let rest = try upper.compact(waitForReaders: { true })
    #expect(rest.outcome == .complete && rest.progress.freedBytes + cancelled.progress.freedBytes == 256 * 4096)
    try upper.close()
  }

  @Test("One at a time; closing or sealing the layer ends it")
  func busyAndClosed() throws {
    let place = try Place()
    let upper = try overwritten(place, pages: 64, versions: 2)
    var error: UpperError?
    _ = try upper.compact(waitForReaders: {
      do throws(UpperError) { _ = try upper.compact(waitForReaders: { true }) } catch let found { error = found }
      return false
    })
    guard case .system(_, _, let errno)? = error else {
      Issue.record("the second call returned \(error as Any)")
      return
    }
    #expect(errno.rawValue == EBUSY)
    let report = try upper.compact(waitForReaders: {
      (try? upper.close()) != nil
    })
    #expect(report.outcome == .cancelled && report.progress.freedBytes == 0)
    #expect(throws: UpperError.self) { try upper.compact(waitForReaders: { true }) }
    let sealed = try place.open()
    try sealed.seal()
    #expect(throws: UpperError.self) { try sealed.compact(waitForReaders: { true }) }
    try sealed.close()
  }

  @Test("Writers and readers beside one compaction after the other")
  func stress() throws {
    let place = try Place()
    try place.create()
    let upper = try place.open()
    let pages = 64
    let begun = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: pages)
    let done = UnsafeMutablePointer<Atomic<UInt64>>.allocate(capacity: pages)
    for page in 0..<pages {
      (begun + page).initialize(to: Atomic(1))
      (done + page).initialize(to: Atomic(1))
      try upper.write([(UInt64(page) * 8, sectorsBytes(UInt64(page) * 8, 8, 1))])
    }
    let state = StressState(upper: upper, pages: pages, begun: begun, done: done)
    let ended = DispatchSemaphore(value: 0)
    for number in 0..<2 {
      Thread.detachNewThread {
        state.write(half: number)
        ended.signal()
      }
      Thread.detachNewThread {
        state.read()
        ended.signal()
      }
    }
    let start = monotonicNanoseconds()
    var freed: UInt64 = 0
    var rounds = 0
    while monotonicNanoseconds() - start < 2_000_000_000 {
      let report = try upper.compact(waitForReaders: { state.readers.drain(until: Deadline(milliseconds: 10_000)) })
      #expect(report.outcome == .complete)
      freed += report.progress.freedBytes
      rounds += 1
    }
    state.hasEnded.store(true, ordering: .relaxed)
    for _ in 0..<4 { #expect(ended.wait(timeout: .now() + 20) == .success) }
    #expect(state.mistake.withLock { $0 } == nil)
    #expect(rounds > 3 && freed > 1 << 20)
    try upper.close()
    let reopened = try place.open()
    #expect(reopened.recovery.isClean)
    for page in 0..<pages {
      let version = done[page].load(ordering: .acquiring)
      let sector = UInt64(page) * 8
      #expect(try UpperLayerTests.read(reopened, sector: sector, sectors: 8) == sectorsBytes(sector, 8, version))
    }
    try reopened.close()
    begun.deallocate()
    done.deallocate()
  }
}

/// Threads that write and read pages: the version of a page that reads must have reached, and the newest they may find.
private final class StressState: @unchecked Sendable {
  let upper: Upper
  let pages: Int
  let begun: UnsafeMutablePointer<Atomic<UInt64>>
  let done: UnsafeMutablePointer<Atomic<UInt64>>
  let hasEnded = Atomic<Bool>(false)
  let readers = Passage()
  let mistake = Mutex<String?>(nil)

  init(
    upper: Upper, pages: Int, begun: UnsafeMutablePointer<Atomic<UInt64>>, done: UnsafeMutablePointer<Atomic<UInt64>>
  ) {
    self.upper = upper
    self.pages = pages
    self.begun = begun
    self.done = done
  }

  func fail(_ text: String) { mistake.withLock { $0 = $0 ?? text } }

  func write(half: Int) {
    var version: UInt64 = 1
    while !hasEnded.load(ordering: .relaxed) {
      version += 1
      let page = Int.random(in: 0..<pages / 2) * 2 + half
      begun[page].store(version, ordering: .sequentiallyConsistent)
      do { try upper.write([(UInt64(page) * 8, sectorsBytes(UInt64(page) * 8, 8, version))]) } catch {
        fail("\(error)")
      }
      done[page].store(version, ordering: .sequentiallyConsistent)
    }
  }

  func read() {
    while !hasEnded.load(ordering: .relaxed) {
      let page = Int.random(in: 0..<pages)
      let ticket = readers.enter()
      let least = done[page].load(ordering: .sequentiallyConsistent)
      let piece = upper.index.view.piece(at: UInt64(page) * 8, limit: 8)
      // Time enough to be overwritten, and punched if nobody waited.
      if Int.random(in: 0..<4) == 0 { usleep(60_000) }
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = bytes.withUnsafeMutableBytes {
        pread(upper.dataDescriptor, $0.baseAddress, 4096, Int(piece.blobSector) * 512)
      }
      readers.leave(ticket)
      let most = begun[page].load(ordering: .sequentiallyConsistent)
      let version = bytes.withUnsafeBytes { $0.load(fromByteOffset: 8, as: UInt64.self) }
      if count != 4096 || piece.kind != .data || piece.sectors != 8 {
        fail("\(piece), \(count) bytes")
      } else if version < least || version > most || bytes != sectorsBytes(UInt64(page) * 8, 8, version) {
        fail("page \(page): version \(version), where \(least)...\(most) is right")
      }
    }
  }
}

@Suite("What compaction is made of")
struct CompactionPartTests {
  @Test("A map of pages finds the free runs that a list of booleans has")
  func pageMap() {
    var random = SplitMix.announced("map of pages")
    for count in [0, 1, 2, 63, 64, 65, 127, 128, 200, 1000] as [Int] {
      for _ in 0..<20 {
        let map = PageMap(byteCount: UInt64(count) * 4096 + UInt64.random(in: 0..<4096, using: &random))
        var model = [Bool](repeating: false, count: count)
        if count > 0 { model[0] = true }
        for _ in 0..<Int.random(in: 0..<6, using: &random) {
          let start = UInt64.random(in: 0..<UInt64(count * 8 + 20), using: &random)
          let length = UInt64.random(in: 1...UInt64(Bool.random(using: &random) ? 10 : 2000), using: &random)
          map.insert(start, length)
          for page in start / 8...(start + length - 1) / 8 where page < count { model[Int(page)] = true }
        }
        var found = [Bool](repeating: true, count: count)
        var page: UInt64 = 0
        while let free = map.nextFree(from: page) {
          #expect(!free.isEmpty && free.lowerBound >= page)
          for index in free { found[Int(index)] = false }
          page = free.upperBound
        }
        #expect(found == model)
        #expect(map.freeCount == model.count { !$0 })
      }
    }
  }
}
