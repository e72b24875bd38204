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
  /// Waited for, and named by nobody.
  public var untraced: UInt64 = 0

  /// Nothing yet.
  public init() {}

  /// Both together.
  public static func + (left: Grades, right: Grades) -> Grades {
    var sum = left
    for grade in [\Grades.hit, \.late, \.unread, \.failed, \.untraced] { sum[keyPath: grade] += right[keyPath: grade] }
    return sum
  }
}

/// The chunks of a blob that a prefetch named and of which nothing is known yet, and what became of the others. Of the
/// store's loop only.
struct Grading {
  /// Runs of untraced chunks that are remembered, for a report. There are as many as reads that waited.
  private static let untracedMax = 1 << 16

  /// A bit for each chunk.
  private var named: [UInt64]
  /// Chunks that were here before anybody read them: hits, once they are read.
  var marked: UInt64 = 0
  var late: UInt64 = 0
  var failed: UInt64 = 0
  private(set) var untraced: UInt64 = 0
  private(set) var untracedRuns: [Range<Int>] = []

  init(chunks: Int) { named = Array(repeating: 0, count: (chunks + 63) / 64) }

  mutating func name(_ chunks: Range<Int>) { for chunk in chunks { named[chunk >> 6] |= 1 << UInt64(chunk & 63) } }

  func isNamed(_ chunk: Int) -> Bool { named[chunk >> 6] >> UInt64(chunk & 63) & 1 != 0 }

  /// Forgets that chunks were named; how many were.
  @discardableResult
  mutating func forget(_ chunks: Range<Int>) -> UInt64 {
    var count: UInt64 = 0
    for chunk in chunks where isNamed(chunk) {
      named[chunk >> 6] &= ~(1 << UInt64(chunk & 63))
      count += 1
    }
    return count
  }

  /// A read waits for these chunks.
  mutating func wait(_ chunks: Range<Int>) {
    let count = forget(chunks)
    late += count
    if count == UInt64(chunks.count) { return }
    untraced += UInt64(chunks.count) - count
    // Some of them may have been named; that they are added to a trace that has them does no harm.
    if untracedRuns.count < Self.untracedMax { untracedRuns.append(chunks) }
  }
}

extension RemoteBlob {
  /// Notes that this process has checked a chunk of the cache that is what `word` says. One that a prefetch named is not
  /// read yet.
  func noteChecked(_ chunk: Int, _ word: ChunkWord) {
    let isUnread = traffic.grading?.isNamed(chunk) ?? false
    if isUnread {
      traffic.grading?.forget(chunk..<chunk + 1)
      traffic.grading?.marked += 1
    }
    view.noteChecked(chunk, word, isUnread: isUnread)
  }

  /// What became of what was named, so far. On the store's loop.
  var grades: Grades {
    var grades = Grades()
    guard let grading = traffic.grading else { return grades }
    grades.hit = view.hits.pointee.load(ordering: .relaxed)
    grades.late = grading.late
    grades.unread = grading.marked - min(grading.marked, grades.hit)
    grades.failed = grading.failed
    grades.untraced = grading.untraced
    return grades
  }

  /// Bytes of the blob that were named, came and were not read. On the store's loop.
  var unreadRanges: [Range<UInt64>] {
    guard let cached else { return [] }
    var found: [Range<UInt64>] = []
    for chunk in 0..<chunkCount where view.isUnread(chunk, cached.view.word(chunk)) {
      let range = bytes(of: chunk..<chunk + 1)
      if let last = found.last, last.upperBound == range.lowerBound {
        found[found.count - 1] = last.lowerBound..<range.upperBound
      } else {
        found.append(range)
      }
    }
    return found
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

  /// The same as ranges of each blob; nil for one that is not graded.
  public func gradedRanges(of blobs: [RemoteBlob], _ body: @escaping @Sendable ([GradedRanges?]) -> Void) {
    loop.perform {
      body(
        blobs.map { blob in
          guard blob.traffic.grading != nil else { return nil }
          let untraced = blob.traffic.untracedWaits.map {
            GradedRanges.Wait(range: blob.bytes(of: $0.chunks), microseconds: $0.nanoseconds / 1000)
          }
          return GradedRanges(unread: blob.unreadRanges, untraced: untraced)
        })
    }
  }

  /// Brings a range that is going to be read, and grades what becomes of it. `completion` gets whether any of it had to
  /// come, on the loop's thread.
  public func prefetch(
    _ blob: RemoteBlob, _ range: Range<UInt64>, deadline: Deadline,
    completion: @escaping @Sendable (BlobError?, _ missing: UInt64) -> Void
  ) {
    loop.perform { [self] in
      let part = range.clamped(to: 0..<blob.size)
      if part.isEmpty || isStopped { return completion(isStopped ? .stopped : nil, 0) }
      let chunks = blob.chunks(of: part)
      if blob.traffic.grading == nil { blob.traffic.grading = Grading(chunks: blob.chunkCount) }
      blob.traffic.grading?.name(chunks)
      let missing = chunks.reduce(UInt64(0)) { blob.hasChunk($1) ? $0 : $0 + UInt64(blob.bytes(of: $1..<$1 + 1).count) }
      want(blob, part, .prefetch, deadline: deadline) { error in
        // What is still named was read before, or did not come.
        let absent = chunks.filter { (blob.traffic.grading?.isNamed($0) ?? false) && !blob.hasChunk($0) }
        blob.traffic.grading?.failed += UInt64(absent.count)
        blob.traffic.grading?.forget(chunks)
        completion(error, missing)
      }
    }
  }
}
