import Glibc
import Posix
import Registry
import Synchronization
import Testing
import TestSupport

@testable import BlobStore

/// A blob with random bytes.
struct TestBlob: Sendable {
  let bytes: [UInt8]
  let digest: String

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    var hash = BlobHash()
    bytes.withUnsafeBytes { hash.update($0) }
    digest = "sha256:\(hash.hexadecimal())"
  }

  init(count: Int, _ random: inout SplitMix) {
    var bytes = [UInt8](repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { buffer in
      for index in stride(from: 0, to: count, by: 8) {
        withUnsafeBytes(of: random.next()) { word in
          buffer[index..<min(count, index + 8)].copyBytes(from: word.prefix(count - index))
        }
      }
    }
    self.init(bytes)
  }

  var size: UInt64 { UInt64(bytes.count) }
  var hex: String { String(digest.dropFirst(7)) }
  var location: BlobLocation { BlobLocation(repoBlobURL: "https://fake/v2/test/blobs", digest: digest) }
  /// Chunks that it has, of 1 KiB.
  var chunks: Int { (bytes.count + 1023) >> 10 }
  /// Spans, of 64 KiB.
  var spans: Int { (bytes.count + 65535) >> 16 }

  /// Whether these are its bytes at `offset`.
  func has(_ part: [UInt8], at offset: Int) -> Bool {
    bytes.withUnsafeBytes { all in
      part.withUnsafeBytes { memcmp($0.baseAddress!, all.baseAddress! + offset, $0.count) == 0 }
    }
  }
}

/// What a process has: a loop, a store and, unless it is shared, an origin.
final class Station: Sendable {
  let loop: TestLoop
  let origin: FakeOrigin
  let store: BlobStore

  /// With the cache in `folder`; nil for none.
  init(
    _ folder: String?, _ blobs: [TestBlob], limit: UInt64 = 1 << 40,
    _ script: @escaping @Sendable (FakeOrigin.Request) -> FakeOrigin.Answer = { _ in .prompt }
  ) throws {
    loop = TestLoop()
    origin = FakeOrigin(loop, blobs, script)
    let cache = try folder.map { folder in try NodeCache(path: folder, limit: limit) }
    store = try BlobStore(cache: cache, origin: origin, loop: loop)
    // Tests that are about it make it come sooner; in the others it does not meddle with what is counted.
    store.checkDelay = 3_600_000
  }

  deinit {
    store.stop()
    loop.stop()
  }

  func open(_ blob: TestBlob, folder: String? = nil) throws -> RemoteBlob {
    try store.open(blob.location, size: blob.size, folder: folder, deadline: Deadline(milliseconds: 20_000))
  }

  /// Reads a range; throws when it is not what the blob has.
  func read(
    _ blob: RemoteBlob, _ range: Range<Int>, of model: TestBlob, _ fetchClass: FetchClass = .demand,
    milliseconds: Int = 20_000
  ) throws {
    let bytes = try bytes(blob, range, fetchClass, milliseconds: milliseconds)
    try check(model.has(bytes, at: range.lowerBound), "wrong bytes in \(range)")
  }

  func bytes(
    _ blob: RemoteBlob, _ range: Range<Int>, _ fetchClass: FetchClass = .demand, milliseconds: Int = 20_000
  ) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xaa, count: range.count)
    try bytes.withUnsafeMutableBytes { buffer in
      try store.read(
        blob, into: buffer, at: UInt64(range.lowerBound), fetchClass, deadline: Deadline(milliseconds: milliseconds))
    }
    return bytes
  }

  /// Wants a range, and says later how that ended.
  func want(_ blob: RemoteBlob, _ range: Range<Int>, _ fetchClass: FetchClass, milliseconds: Int? = 20_000) -> Wait {
    let wait = Wait()
    store.want(
      blob, UInt64(range.lowerBound)..<UInt64(range.upperBound), fetchClass,
      deadline: milliseconds.map { Deadline(milliseconds: $0) }
    ) { wait.answer.set(Ended(error: $0, time: monotonicNanoseconds())) }
    return wait
  }
}

struct Ended: Sendable {
  let error: BlobError?
  let time: UInt64
}

/// A want under way.
final class Wait: Sendable {
  let answer = OneShot<Ended>()
  private let began = monotonicNanoseconds()

  /// How it ended; nil when it did not within so many milliseconds.
  func end(within milliseconds: Int = 20_000) -> Ended? { answer.wait(Deadline(milliseconds: milliseconds)) }

  /// Whether it ended well, within so many milliseconds.
  func succeeds(within milliseconds: Int = 20_000) -> Bool {
    if let end = end(within: milliseconds) { end.error == nil } else { false }
  }

  /// Milliseconds that it took; nil when it did not end.
  func took() -> Int? { end().map { Int(($0.time - began) / 1_000_000) } }
}

/// Something that is not as a test expects it, on a thread that is not the test's.
struct NotAsExpected: Error { let what: String }

func check(_ condition: Bool, _ what: @autoclosure () -> String) throws {
  if !condition { throw NotAsExpected(what: what()) }
}

/// Runs `body` on `count` threads, waits for all of them, and records what they threw as issues of the test.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) {
  let errors = Mutex<[String]>([])
  let threads = (0..<count).map { number in
    try! Posix.Thread(name: "test") {
      do { try body(number) } catch { errors.withLock { $0.append("\(error)") } }
    }
  }
  for thread in threads where !thread.join(Deadline(milliseconds: 300_000)) { fatalError("a test's thread is stuck") }
  for error in errors.withLock({ $0 }) { Issue.record("\(error)") }
}
