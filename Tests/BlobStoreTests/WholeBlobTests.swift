import Glibc
import Posix
import Synchronization
import Testing
import TestSupport

@testable import BlobStore

/// What becomes of a blob of which all is here.
@Suite struct WholeBlobTests {
  /// The events of a store.
  final class Events: Sendable {
    private let list = Mutex<[String]>([])

    init(_ store: BlobStore) { store.listen { [list = self] event in list.add("\(event)") } }

    private func add(_ text: String) { list.withLock { $0.append(text) } }
    var all: [String] { list.withLock { $0 } }
    func has(_ part: String, within milliseconds: Int = 5000) -> Bool {
      Deadline(milliseconds: milliseconds).wait { all.contains { $0.contains(part) } }
    }
  }

  @Test("a complete blob is checked, trusted and put where the snapshotter looks")
  func publishes() throws {
    var random = SplitMix.announced("publishes")
    let blob = TestBlob(count: 7 << 16 + 5, &random)
    let scratch = try Scratch()
    let folder = scratch("layer")
    try makeDirectories(folder)
    let station = try Station(scratch("cache"), [blob])
    let events = Events(station.store)
    let remote = try station.open(blob, folder: folder)
    try station.read(remote, 0..<6 << 16, of: blob)
    #expect(!fileExists("\(folder)/overlaybd.commit") && !remote.isTrusted)
    try station.read(remote, 6 << 16..<blob.bytes.count, of: blob)
    #expect(events.has("complete, and it has its sha256"))
    #expect(Deadline(milliseconds: 5000).wait { fileExists("\(folder)/overlaybd.commit") })
    #expect(try readFile("\(folder)/overlaybd.commit") == blob.bytes)
    #expect(remote.isTrusted && station.store.counters.snapshot.repairs == 0)
    #expect(try listDirectory(folder) == ["overlaybd.commit"])
    let usage = try #require(try station.store.cache!.usage(blob.hex))
    #expect(
      usage.isTrusted && usage.presentChunks == blob.chunks && usage.chunks == blob.chunks
        && usage.blobSize == blob.size)
  }

  @Test(
    "a blob that is all here when it is opened is published as well, checked before or not", arguments: [false, true])
  func publishesLater(isTrusted: Bool) throws {
    var random = SplitMix.announced("publishesLater")
    let blob = TestBlob(count: 3 << 16, &random)
    let scratch = try Scratch()
    let folder = scratch("layer")
    try makeDirectories(folder)
    try fill(scratch, blob)
    let station = try Station(scratch("cache"), [blob])
    if isTrusted { #expect(try station.store.cache!.verify(blob.hex)?.isTrusted == true) }
    station.store.checkDelay = 10
    let remote = try station.open(blob, folder: folder)
    #expect(Deadline(milliseconds: 5000).wait { fileExists("\(folder)/overlaybd.commit") })
    #expect(try readFile("\(folder)/overlaybd.commit") == blob.bytes)
    #expect(remote.isTrusted && station.origin.log.requests.isEmpty)
  }

  @Test("what was trusted once and is damaged now is not published")
  func notPublished() throws {
    var random = SplitMix.announced("notPublished")
    let blob = TestBlob(count: 3 << 16, &random)
    let scratch = try Scratch()
    let folder = scratch("layer")
    try makeDirectories(folder)
    try fill(scratch, blob)
    let station = try Station(scratch("cache"), [blob])
    let cache = try #require(station.store.cache)
    #expect(try cache.verify(blob.hex)?.isTrusted == true)
    try overwrite(cache.dataPath(blob.hex), at: 99_999, [~blob.bytes[99_999]])
    let events = Events(station.store)
    station.store.checkDelay = 0
    let remote = try station.open(blob, folder: folder)
    #expect(events.has("1 of the cache's chunks were damaged"))
    #expect(try listDirectory(folder) == [])
    #expect(!remote.isTrusted && station.store.counters.snapshot.repairs == 1)
    // And once it is mended, it is.
    try station.read(remote, 0..<3 << 16, of: blob)
    #expect(Deadline(milliseconds: 5000).wait { fileExists("\(folder)/overlaybd.commit") })
    #expect(try readFile("\(folder)/overlaybd.commit") == blob.bytes)
  }

  @Test("a blob that has another sha256 is dropped, reported, not published, and not asked for again at once")
  func wrong() throws {
    var random = SplitMix.announced("wrong")
    let blob = TestBlob(count: 5 << 16, &random)
    let scratch = try Scratch()
    let folder = scratch("layer")
    try makeDirectories(folder)
    let isLying = Atomic<Bool>(true)
    let station = try Station(scratch("cache"), [blob]) { _ in
      FakeOrigin.Answer(inverted: isLying.load(ordering: .relaxed) ? 123_456..<123_457 : nil)
    }
    let events = Events(station.store)
    station.store.wrongPause = 1500
    let remote = try station.open(blob, folder: folder)
    // Bytes that nobody can know to be wrong yet, or an error: it may be found out before they are read.
    _ = try? station.bytes(remote, 0..<5 << 16)
    #expect(events.has("complete, but its sha256 is"))
    let cache = try #require(station.store.cache)
    #expect(Deadline(milliseconds: 5000).wait { (try? cache.usage(blob.hex)?.presentChunks) == 0 })
    #expect(!remote.isTrusted && !fileExists("\(folder)/overlaybd.commit"))
    let requests = station.origin.log.requests.count
    let error = #expect(throws: BlobError.self) { try station.bytes(remote, 0..<5 << 16) }
    #expect("\(try #require(error))".contains(blob.digest), "what is wrong is said")
    #expect(station.origin.log.requests.count == requests)
    isLying.store(false, ordering: .relaxed)
    usleep(1_600_000)
    try station.read(remote, 0..<5 << 16, of: blob)
    #expect(events.has("complete, and it has its sha256"))
    #expect(Deadline(milliseconds: 5000).wait { fileExists("\(folder)/overlaybd.commit") })
  }

  @Test("trust goes with the first chunk that is dropped, and comes back when all is here again")
  func trustGoes() throws {
    var random = SplitMix.announced("trustGoes")
    let blob = TestBlob(count: 5 << 16, &random)
    let scratch = try Scratch()
    let station = try Station(scratch("cache"), [blob])
    let events = Events(station.store)
    let remote = try station.open(blob)
    try station.read(remote, 0..<5 << 16, of: blob)
    #expect(events.has("complete, and it has its sha256") && remote.isTrusted)
    let cache = try #require(station.store.cache)
    for _ in 0..<3 {
      #expect(try cache.evict(blob.hex) == 5 << 16)
      #expect(!remote.isTrusted)
      try station.read(remote, 0..<5 << 16, of: blob)
      #expect(Deadline(milliseconds: 5000).wait { remote.isTrusted })
    }
  }

  @Test("stores that complete a blob together agree on it")
  func together() throws {
    var random = SplitMix.announced("together")
    for _ in 0..<10 {
      let blob = TestBlob(count: 8 << 16, &random)
      let scratch = try Scratch()
      let folder = scratch("layer")
      try makeDirectories(folder)
      let stations = try (0..<3).map { _ in try Station(scratch("cache"), [blob]) }
      onThreads(3) { number in
        let remote = try stations[number].open(blob, folder: folder)
        try stations[number].read(remote, number << 17..<8 << 16, of: blob)
        try stations[number].read(remote, 0..<8 << 16, of: blob)
      }
      #expect(Deadline(milliseconds: 5000).wait { fileExists("\(folder)/overlaybd.commit") })
      #expect(try readFile("\(folder)/overlaybd.commit") == blob.bytes)
      #expect(stations.allSatisfy { $0.store.counters.snapshot.repairs == 0 })
    }
  }

  @Test("verify tells what it found, and may run beside readers")
  func verifies() throws {
    var random = SplitMix.announced("verifies")
    let blob = TestBlob(count: 9 << 16 + 1, &random)
    let scratch = try Scratch()
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    #expect(try cache.verify(blob.hex) == nil)
    try fill(scratch, blob, spans: [0, 3, 4])
    var told: [UInt64] = []
    #expect(try cache.verify(blob.hex, progress: { told.append($0) }) == .init(whole: 192, damaged: 0, chunks: 577))
    #expect(told.count == 10 && told.last == blob.size && told == told.sorted())
    try overwrite(cache.dataPath(blob.hex), at: 3 << 16, [~blob.bytes[3 << 16]])
    #expect(try cache.verify(blob.hex) == .init(whole: 191, damaged: 1, chunks: 577))
    #expect(try cache.verify(blob.hex) == .init(whole: 191, damaged: 0, chunks: 577))
    try fill(scratch, blob)
    #expect(try cache.verify(blob.hex, isStopped: { true }) == nil)
    #expect(
      try cache.verify(blob.hex) == .init(whole: 577, damaged: 0, chunks: 577, sha256: blob.hex, isTrusted: true))
    for hex in ["", "..", "../lock", String(repeating: "g", count: 64)] {
      #expect(throws: BlobError.notDigest("sha256:\(hex)")) { try cache.verify(hex) }
    }
  }
}
