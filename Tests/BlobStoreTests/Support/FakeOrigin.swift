import BlobStore
import Posix
import Synchronization

@testable import Registry

/// A registry that does what a test tells it: late, in pieces, wrong, or not at all.
///
/// Everything but what the test asks happens on its loop's thread. Shared by the stores of a test, it counts what each
/// of them asked for.
final class FakeOrigin: BlobOrigin, @unchecked Sendable {
  struct Request: Sendable {
    let digest: String
    let range: Range<UInt64>
    let deadline: Deadline?
    /// Counts from 0.
    let number: Int
  }

  /// What becomes of a request.
  struct Answer: Sendable {
    /// Milliseconds until the first byte.
    var delay = 0
    /// Bytes that come at once, and milliseconds between them.
    var step = Int.max
    var pause = 0
    /// Bytes after which it ends, and how: with an error, or as if that had been all.
    var cut: (after: Int, error: RegistryError?)?
    /// Bytes of the blob that are sent inverted.
    var inverted: Range<UInt64>?
    /// Said to be the blob's size; nil is the truth.
    var totalSize: UInt64??
    /// Nothing ever comes, and with `ignoresDeadline` no end either.
    var isSilent = false
    var ignoresDeadline = false

    static let prompt = Answer()
    static func failing(_ error: RegistryError, after: Int = 0) -> Answer { Answer(cut: (after, error)) }
  }

  private final class Transfer {
    let request: Request
    let answer: Answer
    let source: [UInt8]
    let buffer: UnsafeMutableRawBufferPointer
    let progress: (Int) -> Void
    let completion: (Result<FetchResult, RegistryError>) -> Void
    var done = 0
    var isOver = false

    init(
      _ request: Request, _ answer: Answer, _ source: [UInt8], _ buffer: UnsafeMutableRawBufferPointer,
      _ progress: @escaping (Int) -> Void, _ completion: @escaping (Result<FetchResult, RegistryError>) -> Void
    ) {
      self.request = request
      self.answer = answer
      self.source = source
      self.buffer = buffer
      self.progress = progress
      self.completion = completion
    }
  }

  struct Log: Sendable {
    var requests: [Request] = []
    /// Ranges of blobs that were delivered.
    var delivered: [Range<UInt64>] = []
    var bytes: UInt64 = 0
    var cancelled = 0
    /// Under way now, and the most there were.
    var running = 0
    var runningMax = 0
  }

  let loop: TestLoop
  private let blobs: [String: [UInt8]]
  private let script: Mutex<@Sendable (Request) -> Answer>
  private let logged = Mutex(Log())
  private let numbers = Atomic<Int>(0)
  // Of the loop only.
  private var transfers: [UInt64: Transfer] = [:]

  /// Serves `blobs`, by digest, as `script` says.
  init(_ loop: TestLoop, _ blobs: [TestBlob], _ script: @escaping @Sendable (Request) -> Answer = { _ in .prompt }) {
    self.loop = loop
    self.blobs = Dictionary(blobs.map { ($0.digest, $0.bytes) }) { first, _ in first }
    self.script = Mutex(script)
  }

  var log: Log { logged.withLock { $0 } }

  /// From now on requests are answered in another way.
  func answer(_ script: @escaping @Sendable (Request) -> Answer) { self.script.withLock { $0 = script } }

  /// How often each chunk of a blob was delivered, at least in part.
  func deliveries(_ blob: TestBlob) -> [Int] {
    var bytes = [Int](repeating: 0, count: blob.chunks)
    for range in log.delivered where !range.isEmpty {
      for chunk in Int(range.lowerBound >> 10)...Int((range.upperBound - 1) >> 10) {
        bytes[chunk] += range.clamped(to: UInt64(chunk) << 10..<UInt64(chunk + 1) << 10).count
      }
    }
    // The last chunk is shorter: twice it may look like once, so its bytes count by the most that came of it at once.
    let last = log.delivered.map(\.upperBound).max() ?? 0
    return bytes.enumerated().map { chunk, count in
      let size = min(1024, Int(last) - chunk << 10)
      return count == 0 ? 0 : (count + size - 1) / max(1, size)
    }
  }

  // MARK: BlobOrigin

  func fetch(
    _ blob: BlobLocation, _ range: FetchRange, into buffer: UnsafeMutableRawBufferPointer, deadline: Deadline?,
    progress: @escaping (Int) -> Void, completion: @escaping (Result<FetchResult, RegistryError>) -> Void
  ) -> FetchHandle {
    precondition(loop.isCurrent, "a fetch from another thread")
    let number = numbers.add(1, ordering: .relaxed).oldValue
    let handle = FetchHandle(number: UInt64(number))
    guard let source = blobs[blob.digest] else {
      later { completion(.failure(.notFound(Self.place))) }
      return handle
    }
    let bytes: Range<UInt64>
    switch range {
    case .bytes(let part): bytes = part
    case .suffix(let count): bytes = UInt64(source.count - min(count, source.count))..<UInt64(source.count)
    }
    let request = Request(digest: blob.digest, range: bytes, deadline: deadline, number: number)
    let transfer = Transfer(request, script.withLock { $0 }(request), source, buffer, progress, completion)
    transfers[UInt64(number)] = transfer
    logged.withLock { log in
      log.requests.append(request)
      log.running += 1
      log.runningMax = max(log.runningMax, log.running)
    }
    if let deadline, !transfer.answer.ignoresDeadline {
      later(Int(deadline.remaining / 1_000_000)) { self.finish(transfer, .failure(.deadline(Self.place, last: nil))) }
    }
    if !transfer.answer.isSilent { later(transfer.answer.delay) { self.step(transfer) } }
    return handle
  }

  func cancel(_ handle: FetchHandle) {
    precondition(loop.isCurrent, "a cancel from another thread")
    guard let transfer = transfers[handle.number], !transfer.isOver else { return }
    logged.withLock { $0.cancelled += 1 }
    // Not written any more from here on; the completion comes later.
    transfer.isOver = true
    end(transfer)
    later { transfer.completion(.failure(.cancelled)) }
  }

  private func later(_ milliseconds: Int = 0, _ body: @escaping () -> Void) {
    struct Box: @unchecked Sendable { let body: () -> Void }
    let box = Box(body: body)
    loop.after(milliseconds: milliseconds) { box.body() }
  }

  private func step(_ transfer: Transfer) {
    if transfer.isOver { return }
    let range = transfer.request.range
    let wanted = min(range.count, max(0, transfer.source.count - Int(range.lowerBound)))
    let total = min(wanted, transfer.answer.cut?.after ?? Int.max)
    let count = min(transfer.answer.step, total - transfer.done)
    let start = range.lowerBound + UInt64(transfer.done)
    transfer.source.withUnsafeBytes { source in
      let part = UnsafeRawBufferPointer(rebasing: source[Int(start)..<Int(start) + count])
      UnsafeMutableRawBufferPointer(rebasing: transfer.buffer[transfer.done...]).copyMemory(from: part)
    }
    for position in (transfer.answer.inverted ?? 0..<0).clamped(to: start..<start + UInt64(count)) {
      transfer.buffer[Int(position - range.lowerBound)] ^= 0xff
    }
    transfer.done += count
    logged.withLock { log in
      log.bytes += UInt64(count)
      log.delivered.append(start..<start + UInt64(count))
    }
    if count > 0 { transfer.progress(transfer.done) }
    if transfer.isOver { return }
    if transfer.done < total { return later(transfer.answer.pause) { self.step(transfer) } }
    if let cut = transfer.answer.cut, let error = cut.error { return finish(transfer, .failure(error)) }
    let size: UInt64? = transfer.answer.totalSize ?? UInt64(transfer.source.count)
    finish(
      transfer,
      .success(
        FetchResult(
          range: range.lowerBound..<range.lowerBound + UInt64(transfer.done), totalSize: size, host: "fake:443",
          firstByteMicroseconds: 0, microseconds: 0, attempts: 1)))
  }

  private func finish(_ transfer: Transfer, _ result: Result<FetchResult, RegistryError>) {
    if transfer.isOver { return }
    transfer.isOver = true
    end(transfer)
    transfer.completion(result)
  }

  private func end(_ transfer: Transfer) {
    transfers[UInt64(transfer.request.number)] = nil
    logged.withLock { $0.running -= 1 }
  }

  static let place = RegistryError.Place(blob: "sha256:…", host: "fake:443", url: "https://fake/v2/test/blobs/")
}
