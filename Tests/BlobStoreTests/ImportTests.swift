import Glibc
import Posix
import Synchronization
import Testing
import TestSupport

@testable import BlobStore

/// Blobs that come to the cache as files.
@Suite struct ImportTests {
  @Test("an imported blob is read without its registry", arguments: [0, 1, 65536, 300_001])
  func imports(count: Int) throws {
    var random = SplitMix.announced("imports")
    let blob = TestBlob(count: count, &random)
    let scratch = try Scratch()
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    let path = try scratch.write("blob", blob.bytes)
    var told: [String] = []
    let result = try cache.importBlob(file: path, digest: blob.digest) { told.append("\($0) \($1)") }
    #expect(result == .init(sha256: blob.hex, size: blob.size, added: blob.size, isTrusted: true))
    #expect(
      told
        == ["reading", "importing"].flatMap { step in
          (0..<blob.spans).map { "\(step) \(min(blob.bytes.count, ($0 + 1) << 16))" }
        })
    let station = try Station(scratch("cache"), [])
    let remote = try station.open(blob)
    #expect(try station.bytes(remote, 0..<count) == blob.bytes && remote.isTrusted)
    // A second time there is nothing to do.
    #expect(try cache.importBlob(file: path).added == 0)
  }

  @Test("a file with another digest, or none, is refused and leaves nothing")
  func refused() throws {
    var random = SplitMix.announced("refused")
    let blob = TestBlob(count: 200_000, &random)
    let scratch = try Scratch()
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    let path = try scratch.write("blob", blob.bytes)
    let other = "sha256:" + String(repeating: "1", count: 64)
    #expect(throws: BlobError.wrongDigest(path: path, expected: other, found: blob.digest)) {
      try cache.importBlob(file: path, digest: other)
    }
    #expect(throws: BlobError.notDigest(blob.hex)) { try cache.importBlob(file: path, digest: blob.hex) }
    #expect(throws: BlobError.notRegularFile(path: scratch.path)) { try cache.importBlob(file: scratch.path) }
    #expect(throws: BlobError.self) { try cache.importBlob(file: scratch("nowhere")) }
    let small = try NodeCache(path: scratch("cache"), limit: 199_999)
    #expect(throws: BlobError.noRoom(path: path, size: 200_000, limit: 199_999)) { try small.importBlob(file: path) }
    #expect(try listDirectory(cache.blobFolder) == [])
  }

  @Test("a file that changes while it is imported is refused, and nothing wrong stays")
  func changes() throws {
    var random = SplitMix.announced("changes")
    let blob = TestBlob(count: 500_000, &random)
    let scratch = try Scratch()
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    let path = try scratch.write("blob", blob.bytes)
    #expect(throws: BlobError.changed(path: path)) {
      try cache.importBlob(file: path) { step, done in
        if step == .reading, done == 500_000 { try! overwrite(path, at: 400_000, [~blob.bytes[400_000]]) }
      }
    }
    let found = try #require(try cache.verify(blob.hex))
    #expect(found == .init(whole: 6 * 64, damaged: 0, chunks: 489))
    let station = try Station(scratch("cache"), [blob])
    try station.read(try station.open(blob), 0..<500_000, of: blob)
  }

  @Test("wrong and damaged chunks of the cache are replaced")
  func replaces() throws {
    var random = SplitMix.announced("replaces")
    let blob = TestBlob(count: 10 << 16, &random)
    let scratch = try Scratch()
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    let path = try scratch.write("blob", blob.bytes)
    try fill(scratch, blob, spans: [0, 1, 2, 3])
    try overwrite(cache.dataPath(blob.hex), at: 1 << 16, [~blob.bytes[1 << 16]])
    // What a registry sent that lies: its sum is right.
    let file = try cache.open(blob.hex, size: blob.size)
    try [UInt8](repeating: 7, count: 65536).withUnsafeBytes { try file.store(128..<192, $0) }
    let result = try cache.importBlob(file: path)
    #expect(result.added == 8 << 16 && result.isTrusted)
    let station = try Station(scratch("cache"), [])
    try station.read(try station.open(blob), 0..<10 << 16, of: blob)
  }

  @Test("import and verify beside devices that read, and beside eviction: no wrong byte, and each ends")
  func besideDevices() throws {
    var random = SplitMix.announced("import besideDevices")
    let blob = TestBlob(count: 25 << 16 + 3, &random)
    let scratch = try Scratch()
    let path = try scratch.write("blob", blob.bytes)
    let station = try Station(scratch("cache"), [blob]) { _ in FakeOrigin.Answer(delay: 2, step: 30_000, pause: 1) }
    let cache = try #require(station.store.cache)
    let isOver = Atomic<Bool>(false)
    let seed = random.next()
    onThreads(5) { number in
      var random = SplitMix(state: seed &+ UInt64(number))
      defer { isOver.store(true, ordering: .relaxed) }
      switch number {
      case 0: for _ in 0..<40 { _ = try cache.importBlob(file: path, digest: blob.digest) }
      case 1: while !isOver.load(ordering: .relaxed) { _ = try cache.verify(blob.hex) }
      case 2:
        while !isOver.load(ordering: .relaxed) {
          _ = try cache.evict(blob.hex)
          usleep(UInt32.random(in: 0...20_000, using: &random))
        }
      default:
        let remote = try station.open(blob)
        while !isOver.load(ordering: .relaxed) {
          let start = Int.random(in: 0..<blob.bytes.count, using: &random)
          try station.read(remote, start..<min(blob.bytes.count, start + 150_000), of: blob)
        }
      }
    }
    #expect(try cache.importBlob(file: path).isTrusted)
    #expect(station.store.counters.snapshot.repairs == 0)
  }
}
