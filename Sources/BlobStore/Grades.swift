import Posix
import Synchronization

/// How well a prefetch foretold what is read of one blob, in chunks. Each chunk that was named ends as one of hit, late,
/// wasted or failed; a wait for a chunk that nobody had named is untraced.
public struct Grades: Equatable, Sendable {
  /// Read after it was here.
  public var hit: UInt64 = 0
  /// Wanted by a read while it was on the way, or not even that.
  public var late: UInt64 = 0
  /// Here, and not read so far. What is left of it in the end was wasted.
  public var unread: UInt64 = 0
  /// Did not come.
  public var failed: UInt64 = 0
  /// Bytes of these: the last chunk of a blob is shorter than others.
  public var failedBytes: UInt64 = 0
  /// Waited for, and named by nobody.
  public var untraced: UInt64 = 0

  /// Nothing yet.
  public init() {}

  /// Both together.
  public static func + (left: Grades, right: Grades) -> Grades {
    var sum = left
    for grade in [\Grades.hit, \.late, \.unread, \.failed, \.failedBytes, \.untraced] {
      sum[keyPath: grade] += right[keyPath: grade]
    }
    return sum
  }
}

/// The chunks of a blob that a prefetch named and of which nothing is known yet, and what became of the others. Of the
/// store's loop only.
struct Grading {
  /// Runs of untraced chunks that are remembered, for a report. There are as many as reads that waited.
  private static let untracedMax = 1 << 16

  /// Chunks that were named.
  private var traced: ChunkSet
  /// Those of which nothing is known yet.
  private var open: ChunkSet
  /// Those that did not come so far.
  private var absent: ChunkSet
  /// Chunks that were here before anybody read them: hits, once they are read.
  private var marked: UInt64 = 0
  private var late: UInt64 = 0
  private var failed: UInt64 = 0
  private var untraced: UInt64 = 0
  private(set) var untracedRuns: [(chunks: Range<Int>, nanoseconds: UInt64)] = []
  private let began = monotonicNanoseconds()

  /// Bytes that the last chunk has less than the others.
  private let lastMissing: UInt64

  /// Of a blob of so many bytes.
  init(bytes: UInt64) {
    let chunks = ChunkMap.chunkCount(ofBlob: bytes)
    lastMissing = UInt64(chunks) * ChunkMap.chunkBytes - bytes
    traced = ChunkSet(chunks: chunks)
    open = traced
    absent = traced
  }

  mutating func name(_ chunks: Range<Int>) {
    for chunk in chunks where traced.insert(chunk) { _ = open.insert(chunk) }
  }

  /// A chunk has come, or was found here. Whether it was named, and nobody has read it.
  mutating func arrive(_ chunk: Int) -> Bool {
    if absent.remove(chunk) { failed -= 1 } else if !open.remove(chunk) { return false }
    marked += 1
    return true
  }

  /// A prefetch of these chunks begins. Those that did not come before get another chance.
  mutating func begin(_ chunks: Range<Int>) {
    for chunk in chunks where absent.remove(chunk) {
      failed -= 1
      _ = open.insert(chunk)
    }
  }

  /// A prefetch of these chunks has ended. Of those that are here and of which nothing is known it is that they had been
  /// read before, and they are graded no more.
  mutating func end(_ chunks: Range<Int>, isHere: (Int) -> Bool) {
    for chunk in chunks where open.remove(chunk) && !isHere(chunk) {
      _ = absent.insert(chunk)
      failed += 1
    }
  }

  /// A read waits for these chunks.
  mutating func wait(_ chunks: Range<Int>) {
    var count: UInt64 = 0
    for chunk in chunks {
      if absent.remove(chunk) {
        failed -= 1
        late += 1
      } else if open.remove(chunk) {
        late += 1
      }
      if !traced.contains(chunk) { count += 1 }
    }
    untraced += count
    // Some of them may have been named; that they are added to a trace that has them does no harm.
    if count > 0, untracedRuns.count < Self.untracedMax {
      untracedRuns.append((chunks, monotonicNanoseconds() - began))
    }
  }

  /// With so many of them read.
  func grades(hits: UInt64) -> Grades {
    var grades = Grades()
    grades.hit = hits
    grades.late = late
    grades.unread = marked - min(marked, hits)
    grades.failed = failed
    grades.failedBytes = failed * ChunkMap.chunkBytes - (absent.containsLast ? lastMissing : 0)
    grades.untraced = untraced
    return grades
  }
}

/// Chunks of one blob, a bit each.
private struct ChunkSet {
  private var words: [UInt64]
  private let count: Int

  init(chunks: Int) {
    count = chunks
    words = Array(repeating: 0, count: (chunks + 63) / 64)
  }

  var containsLast: Bool { count > 0 && contains(count - 1) }

  func contains(_ chunk: Int) -> Bool { words[chunk >> 6] >> UInt64(chunk & 63) & 1 != 0 }

  /// False when it was there.
  mutating func insert(_ chunk: Int) -> Bool {
    if contains(chunk) { return false }
    words[chunk >> 6] |= 1 << UInt64(chunk & 63)
    return true
  }

  /// False when it was not there.
  mutating func remove(_ chunk: Int) -> Bool {
    guard contains(chunk) else { return false }
    words[chunk >> 6] &= ~(1 << UInt64(chunk & 63))
    return true
  }
}

extension RemoteBlob {
  /// Notes that this process has checked a chunk of the cache that is what `word` says. One that a prefetch named is not
  /// read yet.
  func noteChecked(_ chunk: Int, _ word: ChunkWord) {
    let isUnread = traffic.grading?.arrive(chunk) ?? false
    view.noteChecked(chunk, word, isUnread: isUnread)
  }

  /// What became of what was named, so far. On the store's loop.
  var grades: Grades {
    traffic.grading?.grades(hits: view.hits.pointee.load(ordering: .relaxed)) ?? Grades()
  }

  /// Bytes of the blob that were named, came and were not read. On the store's loop.
  var unreadRanges: [Range<UInt64>] {
    guard let cached else { return [] }
    let unread = (0..<chunkCount).lazy.filter { self.view.isUnread($0, cached.view.word($0)) }
    return ChunkMap.runs(of: unread).map { bytes(of: $0) }
  }
}

/// What a report says of one blob, in bytes of its file.
public struct GradedRanges: Sendable {
  /// What somebody had to wait for.
  public struct Wait: Sendable {
    /// Bytes of the file.
    public let range: Range<UInt64>
    /// Microseconds from the begin of the grading.
    public let microseconds: UInt64
  }

  /// Brought and not read.
  public let unread: [Range<UInt64>]
  /// Read and not named. What came with something else that was waited for is not in it.
  public let untraced: [Wait]
}

extension BlobStore {
  /// Says what became of what was prefetched of these blobs, all together. `body` is called on the loop's thread.
  public func grades(of blobs: [RemoteBlob], _ body: @escaping @Sendable (Grades) -> Void) {
    loop.perform { body(blobs.reduce(Grades()) { $0 + $1.grades }) }
  }

  /// From now on what is waited for of these blobs is untraced, unless a prefetch names it.
  public func startGrading(of blobs: [RemoteBlob]) {
    loop.perform {
      for blob in blobs where blob.traffic.grading == nil {
        blob.traffic.grading = Grading(bytes: blob.size)
      }
    }
  }

  /// The same as ranges of each blob; nil for one that is not graded.
  public func gradedRanges(of blobs: [RemoteBlob], _ body: @escaping @Sendable ([GradedRanges?]) -> Void) {
    loop.perform {
      body(
        blobs.map { blob in
          guard let grading = blob.traffic.grading else { return nil }
          let untraced = grading.untracedRuns.map {
            GradedRanges.Wait(range: blob.bytes(of: $0.chunks), microseconds: $0.nanoseconds / 1000)
          }
          return GradedRanges(unread: blob.unreadRanges, untraced: untraced)
        })
    }
  }

  /// Says what is going to be prefetched of a blob, so that what becomes of it is graded, and what is not among it is
  /// known for untraced. Before the first prefetch; once.
  public func foretell(_ blob: RemoteBlob, _ ranges: [Range<UInt64>]) {
    loop.perform {
      if blob.traffic.grading == nil { blob.traffic.grading = Grading(bytes: blob.size) }
      for range in ranges {
        let part = range.clamped(to: 0..<blob.size)
        if !part.isEmpty { blob.traffic.grading?.name(blob.chunks(of: part)) }
      }
    }
  }

  /// Nobody is going to ask for a range that was foretold: what of it is not here has failed.
  public func giveUp(_ blob: RemoteBlob, _ range: Range<UInt64>) {
    loop.perform {
      let part = range.clamped(to: 0..<blob.size)
      if !part.isEmpty { blob.traffic.grading?.end(blob.chunks(of: part)) { blob.hasChunk($0) } }
    }
  }

  /// Brings a range that was foretold. `completion` gets how many bytes of it had to come, on the loop's thread.
  public func prefetch(
    _ blob: RemoteBlob, _ range: Range<UInt64>, deadline: Deadline,
    completion: @escaping @Sendable (BlobError?, _ missing: UInt64) -> Void
  ) {
    loop.perform { [self] in
      let part = range.clamped(to: 0..<blob.size)
      if part.isEmpty || isStopped { return completion(isStopped ? .stopped : nil, 0) }
      let chunks = blob.chunks(of: part)
      blob.traffic.grading?.begin(chunks)
      let missing = blob.missingBytes(part)
      want(blob, part, .prefetch, deadline: deadline) { error in
        blob.traffic.grading?.end(chunks) { blob.hasChunk($0) }
        completion(error, missing)
      }
    }
  }
}
