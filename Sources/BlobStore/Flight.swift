import Posix
import Registry

/// Somebody who waits for a range of a blob.
///
/// `@unchecked`: of the store's loop only, whose closures hand it on.
final class Waiter: @unchecked Sendable {
  let blob: RemoteBlob
  let range: Range<UInt64>
  let fetchClass: FetchClass
  /// When the wait ends with an error; nil is never.
  let deadline: Deadline?
  /// Chunks that are still missing.
  var missing = 0
  /// Whether it had to wait at all.
  var hasWaited = false
  private var completion: ((BlobError?) -> Void)?

  init(
    _ blob: RemoteBlob, _ range: Range<UInt64>, _ fetchClass: FetchClass, _ deadline: Deadline?,
    _ completion: @escaping (BlobError?) -> Void
  ) {
    self.blob = blob
    self.range = range
    self.fetchClass = fetchClass
    self.deadline = deadline
    self.completion = completion
  }

  var isDone: Bool { completion == nil }

  /// Ends the wait. Only the first call counts.
  func finish(_ error: BlobError?) {
    let completion = completion
    self.completion = nil
    completion?(error)
  }
}

/// Chunks in a row that are fetched with one request.
///
/// `@unchecked`: of the store's loop only, whose closures hand it on.
final class Flight: @unchecked Sendable {
  enum State {
    /// Waits for its turn.
    case waiting
    /// Under way. Without a handle as long as the origin has not returned from being asked.
    case flying(FetchHandle?)
    /// Failed, and goes on after a while because somebody waits without an end.
    case pausing
    case ended
  }

  /// The most that one request asks for: what a flight may have in memory.
  static let chunksMax = Readahead.windowMax

  let blob: RemoteBlob
  let chunks: Range<Int>
  var fetchClass: FetchClass
  /// Whether its chunks go to this process's memory, because another process that fetches them does not get on.
  let isPrivate: Bool
  var state = State.waiting
  /// Whether the chunks that are left are claimed, by this flight and nobody else.
  var holdsClaims = false
  /// The chunk that is next to arrive.
  var next: Int
  var waiters: [Int: [Waiter]] = [:]
  /// When the origin should have ended the fetch; nil: it has no end.
  var fetchDeadline: Deadline?
  private(set) var buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)

  init(_ blob: RemoteBlob, _ chunks: Range<Int>, _ fetchClass: FetchClass, isPrivate: Bool = false) {
    self.blob = blob
    self.chunks = chunks
    self.fetchClass = fetchClass
    self.isPrivate = isPrivate
    next = chunks.lowerBound
  }

  deinit { buffer.deallocate() }

  /// What is still to be fetched.
  var rest: Range<Int> { next..<chunks.upperBound }

  /// Room for the rest.
  func makeBuffer() -> UnsafeMutableRawBufferPointer {
    buffer.deallocate()
    buffer = .allocate(byteCount: blob.bytes(of: rest).count, alignment: 4096)
    return buffer
  }

  func freeBuffer() {
    buffer.deallocate()
    buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  }

  /// Whoever still waits for one of its chunks.
  var liveWaiters: [Waiter] { waiters.values.flatMap { $0 }.filter { !$0.isDone } }
}

/// What is under way of a blob.
struct Traffic {
  /// The flight that brings a chunk.
  var flights: [Int: Flight] = [:]
  /// Chunks that another process is fetching, and who waits for them here.
  var foreign: [Int: Foreign] = [:]
  /// Until then nobody has much patience with other processes: one of them was waited for in vain.
  var impatientUntil: Deadline?
  /// Whether the registry has been heard of the blob's size, which is not contradicted. Until then nothing of an answer
  /// is used before its end: it may be about another blob than is meant.
  var isSizeKnown = false
  /// How far ahead of a read it is worth to fetch.
  var readahead = Readahead()
  /// The chunks below this one were here when they were looked at.
  var complete = 0
  /// Whether all were.
  var wasComplete = false
  /// Drops that the map had counted then.
  var completeDrops: UInt64 = 0
}

/// A chunk that another process is fetching.
struct Foreign {
  var waiters: [Waiter]
  var fetchClass: FetchClass
  /// When it is fetched here as well, unless the other process is seen to get on.
  var patience: Deadline
  /// Chunks in the stretch before it that were here when the patience was given.
  var before: Int
}

/// Chunks in ascending order as runs of at most `limit`.
func runs(_ chunks: some Sequence<Int>, limit: Int) -> [Range<Int>] {
  var runs: [Range<Int>] = []
  for chunk in chunks {
    if let last = runs.last, last.upperBound == chunk, last.count < limit {
      runs[runs.count - 1] = last.lowerBound..<chunk + 1
    } else {
      runs.append(chunk..<chunk + 1)
    }
  }
  return runs
}
