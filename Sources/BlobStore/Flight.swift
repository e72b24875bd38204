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
  /// Why it has not come so far; nil when nobody knows.
  var trouble: RegistryError?
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

/// A part of a waiter's range that somebody brings.
struct Wait {
  let waiter: Waiter
  let chunks: Range<Int>

  /// What of it lies in `part`; nil for nothing.
  func clamped(to part: Range<Int>) -> Wait? {
    let common = chunks.clamped(to: part)
    return common.isEmpty ? nil : Wait(waiter: waiter, chunks: common)
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
  private(set) var chunks: Range<Int>
  var fetchClass: FetchClass
  /// Whether its chunks go to this process's memory, because another process that fetches them does not get on.
  let isPrivate: Bool
  var state = State.waiting
  /// Whether the chunks that are left are claimed, by this flight and nobody else.
  var holdsClaims = false
  /// The chunk that is next to arrive.
  var next: Int
  var waits: [Wait] = []
  /// When the origin should have ended the fetch; nil: it has no end.
  var fetchDeadline: Deadline?
  /// Where the fetch under way writes to: from `FlightBuffers`.
  var buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)

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

  /// Bytes of that.
  var restBytes: Int { rest.isEmpty ? 0 : blob.bytes(of: rest).count }

  /// Gives its chunks from `end` on to another flight, and who waits for them.
  func shorten(to end: Int) {
    chunks = chunks.lowerBound..<end
    waits = waits.compactMap { $0.clamped(to: chunks) }
  }

  /// Adds the waits, of some range, that concern its chunks.
  func take(_ waits: [Wait]) { self.waits += waits.compactMap { $0.clamped(to: rest) } }

  /// Whether somebody still waits for one of its chunks.
  var isWanted: Bool { waits.contains { !$0.waiter.isDone } }

  /// Whoever still waits for one of its chunks.
  var liveWaiters: [Waiter] { waits.map(\.waiter).filter { !$0.isDone } }
}
