import Posix
import Synchronization

/// How whole blobs are brought to the cache.
public struct TransferPlan: Sendable {
  /// Why.
  public var fetchClass: FetchClass
  /// Bytes that are asked for at once.
  public var stepBytes: UInt64
  /// Steps under way at once.
  public var concurrency: Int
  /// Bytes a second; nil for as many as come.
  public var bytesPerSecond: UInt64?
  /// Attempts for each step, at least one.
  public var attempts: Int

  /// All fields.
  public init(
    fetchClass: FetchClass, stepBytes: UInt64 = 1 << 20, concurrency: Int = 1, bytesPerSecond: UInt64? = nil,
    attempts: Int = 5
  ) {
    self.fetchClass = fetchClass
    self.stepBytes = max(ChunkMap.spanBytes, stepBytes / ChunkMap.spanBytes * ChunkMap.spanBytes)
    self.concurrency = max(1, concurrency)
    self.bytesPerSecond = bytesPerSecond
    self.attempts = max(1, attempts)
  }
}

/// Brings whole blobs to the cache, one after the other. Goes on where the cache already has something, so one that was
/// interrupted is resumed by doing it again.
///
/// `@unchecked`: of the store's loop only.
final class Transfer: @unchecked Sendable {
  private let store: BlobStore
  private let blobs: [RemoteBlob]
  private let plan: TransferPlan
  private let progress: @Sendable (UInt64) -> Void
  private let completion: @Sendable ([BlobError]) -> Void
  /// The step that is next: blob, and chunk of it.
  private var blob = 0
  private var chunk = 0
  private var running = 0
  private var errors: [BlobError] = []
  /// When the next step may begin, `CLOCK_MONOTONIC`, nanoseconds.
  private var notBefore: UInt64 = 0
  private var isOver = false

  init(
    _ store: BlobStore, _ blobs: [RemoteBlob], _ plan: TransferPlan, progress: @escaping @Sendable (UInt64) -> Void,
    completion: @escaping @Sendable ([BlobError]) -> Void
  ) {
    self.store = store
    self.blobs = blobs
    self.plan = plan
    self.progress = progress
    self.completion = completion
  }

  /// Starts what may be under way, and ends when nothing is left.
  func go() {
    while running < plan.concurrency, let (blob, range) = nextStep() {
      running += 1
      let pause = pause(range.count)
      if pause > 0 {
        store.loop.after(milliseconds: pause) { self.bring(blob, range, attempt: 1) }
      } else {
        bring(blob, range, attempt: 1)
      }
    }
    guard running == 0, !isOver else { return }
    isOver = true
    for blob in blobs where blob.noteComplete() { store.checkWhole(blob) }
    completion(errors)
  }

  private func nextStep() -> (RemoteBlob, Range<UInt64>)? {
    while blob < blobs.count, !store.isStopped {
      let current = blobs[blob]
      // Whether it is whole is found out when all is here: the loop has no time to read what is.
      let here = (chunk..<current.chunkCount).prefix { current.hasChunk($0) }
      if !here.isEmpty { progress(UInt64(current.bytes(of: here).count)) }
      chunk = here.upperBound
      if chunk == current.chunkCount {
        blob += 1
        chunk = 0
        continue
      }
      let first = chunk
      let limit = min(current.chunkCount, first + Int(plan.stepBytes >> ChunkMap.chunkShift))
      while chunk < limit, !current.hasChunk(chunk) { chunk += 1 }
      return (current, current.bytes(of: first..<chunk))
    }
    return nil
  }

  /// Milliseconds until a step of so many bytes may begin.
  private func pause(_ bytes: Int) -> Int {
    guard let rate = plan.bytesPerSecond, rate > 0 else { return 0 }
    let now = monotonicNanoseconds()
    let start = max(now, notBefore)
    notBefore = start + UInt64(Double(bytes) / Double(rate) * 1e9)
    return Int((start - now) / 1_000_000)
  }

  private func bring(_ blob: RemoteBlob, _ range: Range<UInt64>, attempt: Int) {
    store.want(blob, range, plan.fetchClass, deadline: Deadline(milliseconds: 120_000)) { error in
      if let error, attempt < self.plan.attempts, error != .stopped {
        self.store.loop.after(milliseconds: min(30_000, 500 << attempt)) {
          self.bring(blob, range, attempt: attempt + 1)
        }
        return
      }
      self.running -= 1
      if let error { self.errors.append(error) } else { self.progress(UInt64(range.count)) }
      self.go()
    }
  }
}

extension BlobStore {
  /// Brings whole blobs to the cache. `progress` is told bytes that are here, in steps; `completion` what did not come.
  /// Both on the loop's thread.
  public func transfer(
    _ blobs: [RemoteBlob], _ plan: TransferPlan, progress: @escaping @Sendable (UInt64) -> Void = { _ in },
    completion: @escaping @Sendable ([BlobError]) -> Void = { _ in }
  ) {
    loop.perform { [self] in Transfer(self, blobs, plan, progress: progress, completion: completion).go() }
  }

  /// The same, `milliseconds` from now.
  public func transfer(_ blobs: [RemoteBlob], _ plan: TransferPlan, afterMilliseconds milliseconds: Int) {
    loop.after(milliseconds: milliseconds) { [weak self] in self?.transfer(blobs, plan) }
  }
}
