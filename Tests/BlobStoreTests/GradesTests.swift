import Glibc
import Posix
import TestSupport
import Testing

@testable import BlobStore

/// What becomes of each chunk that a prefetch named, and of those that it did not.
@Suite("Grades of a prefetch")
struct GradesTests {
  /// 1 KiB, what is graded.
  private static let chunk = 1 << 10

  /// A blob of 2 MiB, and a process that foretells some of its first chunks.
  private struct Foretold {
    let scratch: Scratch
    let blob: TestBlob
    let station: Station
    let remote: RemoteBlob

    init(_ name: String, chunks: Int, _ script: @escaping @Sendable (FakeOrigin.Request) -> FakeOrigin.Answer) throws {
      var random = SplitMix.announced(name)
      scratch = try Scratch()
      blob = TestBlob(count: 2 << 20, &random)
      station = try Station(scratch("cache"), [blob], script)
      remote = try station.open(blob)
      station.store.foretell(remote, [0..<UInt64(chunks) << 10])
    }

    var grades: Grades { station.grades(remote) }
    func prefetch(_ range: Range<Int>, milliseconds: Int = 20_000) -> Prefetch {
      station.prefetch(remote, range, milliseconds: milliseconds)
    }
    func read(_ range: Range<Int>) throws { try station.read(remote, range, of: blob) }
  }

  @Test("what is read after it came is a hit, once; what is not read is unread, and is named")
  func hit() throws {
    let foretold = try Foretold("hits", chunks: 100) { _ in .prompt }
    #expect(foretold.prefetch(0..<100 * Self.chunk).missing() == UInt64(100 * Self.chunk))
    #expect(foretold.grades == Grades(unread: 100))
    for _ in 0..<3 { try foretold.read(10 * Self.chunk + 5..<40 * Self.chunk) }
    #expect(foretold.grades == Grades(hit: 30, unread: 70))
    let answer = OneShot<[GradedRanges?]>()
    foretold.station.store.gradedRanges(of: [foretold.remote]) { answer.set($0) }
    let ranges = try #require(answer.wait(Deadline(milliseconds: 5000))?.first ?? nil)
    #expect(ranges.unread == [0..<10 * 1024, 40 * 1024..<100 * 1024] && ranges.untraced.isEmpty)
  }

  @Test("what is wanted while it is on the way is late, and not a hit as well")
  func late() throws {
    let foretold = try Foretold("late", chunks: 64) { _ in FakeOrigin.Answer(delay: 150) }
    let prefetch = foretold.prefetch(0..<64 * Self.chunk)
    try foretold.read(8 * Self.chunk..<16 * Self.chunk)
    #expect(prefetch.missing() == UInt64(64 * Self.chunk))
    try foretold.read(8 * Self.chunk..<16 * Self.chunk)
    #expect(foretold.grades == Grades(late: 8, unread: 56))
    #expect(foretold.station.origin.deliveries(foretold.blob).allSatisfy { $0 <= 1 })
  }

  @Test("what is wanted before its turn is late, whoever brings it, and not named again by its turn")
  func overtaken() throws {
    let foretold = try Foretold("overtaken", chunks: 4) { _ in FakeOrigin.Answer(delay: 50) }
    let demand = foretold.station.want(foretold.remote, 0..<4 * Self.chunk, .demand)
    let prefetch = foretold.prefetch(0..<4 * Self.chunk)
    #expect(demand.succeeds())
    #expect(prefetch.missing() != nil)
    try foretold.read(0..<4 * Self.chunk)
    #expect(foretold.grades == Grades(late: 4))
  }

  @Test("what is waited for and nobody named is untraced, also in a blob of which nothing was named")
  func untraced() throws {
    let foretold = try Foretold("untraced", chunks: 512) { _ in .prompt }
    let start = (512 + 64) * Self.chunk
    try foretold.read(start + 7..<start + 9 * Self.chunk)
    try foretold.read(start..<start + 9 * Self.chunk)
    #expect(foretold.grades == Grades(untraced: 9))
    var random = SplitMix(state: 1)
    let blob = TestBlob(count: 1 << 20, &random)
    let station = try Station(foretold.scratch("other"), [blob])
    let remote = try station.open(blob)
    station.store.foretell(remote, [])
    try station.read(remote, 0..<3 * Self.chunk, of: blob)
    #expect(station.grades(remote) == Grades(untraced: 3))
  }

  @Test("what does not come has failed, once however often it is tried, until it comes or is waited for")
  func failed() throws {
    let foretold = try Foretold("failed", chunks: 32) { request in
      request.number < 2 ? .failing(.notFound(FakeOrigin.place)) : .prompt
    }
    for _ in 0..<2 {
      #expect(foretold.prefetch(0..<32 * Self.chunk).fails())
      #expect(foretold.grades == Grades(failed: 32, failedBytes: 32 << 10))
    }
    try foretold.read(0..<2 * Self.chunk)
    // What it brought besides has come after all.
    #expect(foretold.grades == Grades(late: 2, unread: 30))
  }

  @Test("bytes that failed are those of the chunks that did, also of a short last one, and of what nobody asks for")
  func failedBytes() throws {
    var random = SplitMix.announced("failed bytes")
    let scratch = try Scratch()
    let blob = TestBlob(count: (300 << 10) + 77, &random)
    let station = try Station(scratch("cache"), [blob]) { _ in .failing(.notFound(FakeOrigin.place)) }
    let remote = try station.open(blob)
    station.store.foretell(remote, [0..<blob.size])
    #expect(station.prefetch(remote, 298 << 10..<blob.bytes.count).fails())
    #expect(station.grades(remote) == Grades(failed: 3, failedBytes: 2048 + 77))
    station.store.giveUp(remote, 0..<blob.size + 9)
    #expect(station.grades(remote) == Grades(failed: 301, failedBytes: blob.size))
    station.origin.answer { _ in .prompt }
    try station.read(remote, 0..<blob.bytes.count, of: blob)
    // A read has brought what a prefetch did not: it was late, and nothing is missing.
    #expect(station.grades(remote) == Grades(late: 301))
  }

  @Test("what comes in another round than the first is not failed, and a hit once it is read")
  func secondRound() throws {
    let foretold = try Foretold("second round", chunks: 32) { request in
      request.number == 0 ? .failing(.notFound(FakeOrigin.place)) : .prompt
    }
    #expect(foretold.prefetch(0..<32 * Self.chunk).fails())
    #expect(foretold.prefetch(0..<32 * Self.chunk).missing() == UInt64(32 * Self.chunk))
    #expect(foretold.grades == Grades(unread: 32))
    try foretold.read(0..<32 * Self.chunk)
    #expect(foretold.grades == Grades(hit: 32))
  }

  @Test("what another process brought is a hit without a request; what this one has read before is nothing")
  func hereBefore() throws {
    let first = try Foretold("here before", chunks: 64) { _ in .prompt }
    try first.read(0..<64 * Self.chunk)
    let late = first.grades.late
    #expect(late == 64 && first.prefetch(0..<64 * Self.chunk).missing() == 0)
    #expect(first.grades == Grades(late: late))
    let second = try Station(first.scratch("cache"), [first.blob])
    let remote = try second.open(first.blob)
    second.store.foretell(remote, [0..<UInt64(64 * Self.chunk)])
    #expect(second.prefetch(remote, 0..<64 * Self.chunk).missing() == 0)
    #expect(second.grades(remote) == Grades(unread: 64))
    try second.read(remote, 0..<16 * Self.chunk, of: first.blob)
    #expect(second.grades(remote) == Grades(hit: 16, unread: 48))
    #expect(second.origin.log.requests.isEmpty)
  }

  @Test("each chunk that was named ends as one thing, however reads and prefetches meet")
  func sums() throws {
    var random = SplitMix.announced("sums of grades")
    let seed = random.next()
    let foretold = try Foretold("sums", chunks: 512) { request in
      request.number % 7 == 3
        ? .failing(.notFound(FakeOrigin.place)) : FakeOrigin.Answer(delay: request.number % 4, step: 9000, pause: 1)
    }
    let chunks = 512
    onThreads(5) { number in
      // Whoever looks meanwhile finds the same in chunks and in bytes.
      if number == 4 {
        for _ in 0..<200 {
          let grades = foretold.grades
          try check(grades.failedBytes == grades.failed << 10, "\(grades)")
          usleep(1000)
        }
        return
      }
      var random = SplitMix(state: seed &+ UInt64(number))
      for _ in 0..<40 {
        let start = Int.random(in: 0..<chunks, using: &random)
        let range = start * Self.chunk..<min(chunks, start + Int.random(in: 1...40, using: &random)) * Self.chunk
        if number % 2 == 0 {
          _ = foretold.prefetch(range).answer.wait(Deadline(milliseconds: 20_000))
        } else {
          _ = try? foretold.read(range)
        }
      }
    }
    // What failed, and what nobody has tried.
    for start in stride(from: 0, to: chunks, by: 64) {
      let range = start * Self.chunk..<(start + 64) * Self.chunk
      while foretold.prefetch(range).fails() {}
    }
    let grades = foretold.grades
    #expect(grades.failed == 0 && grades.untraced == 0 && grades.late > 0 && grades.hit > 0, "\(grades)")
    #expect(grades.hit + grades.late + grades.unread == UInt64(chunks), "\(grades)")
  }
}

/// A prefetch under way.
struct Prefetch {
  let answer = OneShot<(error: BlobError?, missing: UInt64)>()

  /// Bytes that had to come; nil when it did not end well.
  func missing() -> UInt64? {
    guard let end = answer.wait(Deadline(milliseconds: 20_000)), end.error == nil else { return nil }
    return end.missing
  }

  /// Whether it ended with an error.
  func fails() -> Bool { answer.wait(Deadline(milliseconds: 20_000))?.error != nil }
}

extension Station {
  func prefetch(_ blob: RemoteBlob, _ range: Range<Int>, milliseconds: Int = 20_000) -> Prefetch {
    let prefetch = Prefetch()
    store.prefetch(
      blob, UInt64(range.lowerBound)..<UInt64(range.upperBound), deadline: Deadline(milliseconds: milliseconds)
    ) { prefetch.answer.set(($0, $1)) }
    return prefetch
  }

  func grades(_ blob: RemoteBlob) -> Grades { loop.run { blob.grades } }
}

extension Grades {
  init(
    hit: UInt64 = 0, late: UInt64 = 0, unread: UInt64 = 0, failed: UInt64 = 0, failedBytes: UInt64 = 0,
    untraced: UInt64 = 0
  ) {
    self.init()
    self.failedBytes = failedBytes
    (self.hit, self.late, self.unread, self.failed, self.untraced) = (hit, late, unread, failed, untraced)
  }
}
