import Glibc
import Posix
import Synchronization
import Testing
import TestSupport

@testable import BlobStore

/// Chunks go while they are read. The readers here read as devices do: under leases.
@Suite struct EvictionTests {
  @Test("readers under leases never see a wrong byte while chunks go and come", .timeLimit(.minutes(2)))
  func underLoad() throws {
    var random = SplitMix.announced("eviction underLoad")
    // Half of all that is done is done to the first one, so that readers and evictors meet.
    let blobs = [3, 9, 10].map { TestBlob(count: $0 << 16 - Int.random(in: 0..<65536, using: &random), &random) }
    let scratch = try Scratch()
    // As two processes, the second one with two threads.
    let stations = try (0..<2).map { _ in
      try Station(scratch("cache"), blobs, limit: 12 << 16) {
        FakeOrigin.Answer(delay: $0.number % 3 == 0 ? 1 : 0, step: 1 << 16)
      }
    }
    let isOver = Atomic<Bool>(false)
    let reads = Atomic<Int>(0)
    let lost = Atomic<Int>(0)
    let seed = random.next()
    onThreads(4) { number in
      var random = SplitMix(state: seed &+ UInt64(number))
      if number == 3 { return try evict(scratch, blobs, &random, isOver) }
      defer { isOver.store(true, ordering: .relaxed) }
      let station = stations[min(number, 1)]
      let remotes = try blobs.map { try station.open($0) }
      let deadline = Deadline(milliseconds: 12_000)
      while !deadline.hasPassed {
        let index = max(0, Int.random(in: -2..<3, using: &random))
        let start = Int.random(in: 0..<blobs[index].bytes.count, using: &random)
        let count = min(Int.random(in: 1...150_000, using: &random), blobs[index].bytes.count - start)
        lost.add(try read(station, remotes[index], blobs[index], start, count), ordering: .relaxed)
        reads.add(1, ordering: .relaxed)
      }
    }
    print("\(reads.load(ordering: .relaxed)) reads, \(lost.load(ordering: .relaxed)) leases lost in between")
    #expect(reads.load(ordering: .relaxed) > 1000)
    #expect(lost.load(ordering: .relaxed) > 0, "nothing was dropped under a reader: this tests nothing")
    for station in stations {
      let counts = station.store.counters.snapshot
      #expect(counts.repairs == 0 && counts.failures == 0)
    }
  }

  /// Reads as a queue does; how many leases were lost.
  private func read(
    _ station: Station, _ remote: RemoteBlob, _ model: TestBlob, _ start: Int, _ count: Int
  ) throws -> Int {
    var bytes = [UInt8](repeating: 0xaa, count: count)
    var lost = 0
    let deadline = Deadline(milliseconds: 20_000)
    while !deadline.hasPassed {
      guard let lease = remote.view.lease(UInt64(start), UInt64(count)) else {
        let wait = station.want(remote, start..<start + count, .demand)
        try check(wait.succeeds(), "\(start)+\(count) did not come: \(String(describing: wait.end()))")
        continue
      }
      let file = lease.place == .cache ? remote.cacheDescriptor : remote.memoryDescriptor
      // In small steps, so that there is time for things to happen.
      let got = bytes.withUnsafeMutableBytes { buffer in
        stride(from: 0, to: count, by: 1024).reduce(0) { sum, done in
          sum + pread(file, buffer.baseAddress! + done, min(1024, count - done), start + done)
        }
      }
      guard remote.view.holds(lease, UInt64(start), UInt64(count)) else {
        lost += 1
        continue
      }
      try check(got == count && model.has(bytes, at: start), "wrong bytes at \(start)+\(count)")
      return lost
    }
    throw NotAsExpected(what: "\(start)+\(count) could not be read for 20 s")
  }

  /// Lets chunks go in all ways that there are.
  private func evict(
    _ scratch: Scratch, _ blobs: [TestBlob], _ random: inout SplitMix, _ isOver: borrowing Atomic<Bool>
  ) throws {
    let cache = try NodeCache(path: scratch("cache"), limit: 12 << 16)
    while !isOver.load(ordering: .relaxed) {
      let hex = blobs[max(0, Int.random(in: -2..<3, using: &random))].hex
      switch Int.random(in: 0..<8, using: &random) {
      case 0: _ = try cache.makeRoom(isFull: true)
      case 1: _ = try cache.evict()
      case 2: _ = try cache.verify(hex)
      case 3: _ = try cache.makeRoom()
      case 4: _ = try cache.evict(hex)
      default:
        // Single ones, as fast as that goes.
        guard let file = try cache.existing(hex) else { break }
        for _ in 0..<100 {
          let first = Int.random(in: 0..<file.chunkCount, using: &random)
          file.dropIfFree(first..<Int.random(in: first + 1...min(file.chunkCount, first + 9), using: &random))
        }
      }
      usleep(UInt32.random(in: 0...1000, using: &random))
    }
  }

  @Test("what was not read for the longest time goes first, and only as much as has to")
  func oldestFirst() throws {
    var random = SplitMix.announced("oldestFirst")
    let blobs = (0..<2).map { _ in TestBlob(count: 20 << 16, &random) }
    let scratch = try Scratch()
    for blob in blobs { try fill(scratch, blob) }
    let cache = try NodeCache(path: scratch("cache"), limit: 30 << 16)
    for (number, blob) in blobs.enumerated() {
      let file = try #require(try cache.existing(blob.hex))
      for span in 0..<20 { file.view.use(span * 64, UInt32(1000 + span * 2 + number)) }
    }
    // 40 are here, 30 may be, and 27 are to be left.
    #expect(try cache.makeRoom() == 13 << 16)
    for (number, blob) in blobs.enumerated() {
      let file = try #require(try cache.existing(blob.hex))
      let left = file.spans.enumerated().filter { $1.allSatisfy { file.view.word($0).isPresent } }.map(\.offset)
      #expect(file.presentCount == left.count * 64)
      #expect(left == Array((number == 0 ? 7 : 6)..<20))
    }
    #expect(try cache.makeRoom() == 0)
    #expect(try cache.diskBytes() == 27 << 16)
    #expect(try cache.makeRoom(isFull: true) > 0)
  }

  @Test("files of a blob that has nothing left go, unless somebody has it open")
  func filesGo() throws {
    var random = SplitMix.announced("filesGo")
    let blobs = (0..<2).map { _ in TestBlob(count: 3 << 16, &random) }
    let scratch = try Scratch()
    for blob in blobs { try fill(scratch, blob) }
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    let station = try Station(scratch("cache"), blobs)
    let remote = try station.open(blobs[0])
    #expect(try cache.usage(blobs[0].hex)?.isInUse == true)
    #expect(try cache.usage(blobs[1].hex)?.isInUse == false)
    #expect(try cache.evict() == 3 << 16)
    #expect(try cache.blobs() == [blobs[0].hex])
    #expect(try cache.evict(blobs[0].hex) == 3 << 16)
    #expect(try cache.blobs() == [blobs[0].hex])
    try station.read(remote, 0..<3 << 16, of: blobs[0])
    #expect(station.origin.log.bytes == 3 << 16)
  }

  @Test(
    "a limit that is far too small slows reads down, and that is all", arguments: [0, 1, 65536, 200_000] as [UInt64])
  func tinyLimit(limit: UInt64) throws {
    var random = SplitMix.announced("tinyLimit")
    let blob = TestBlob(count: 40 << 16, &random)
    let scratch = try Scratch()
    let station = try Station(scratch("cache"), [blob], limit: limit)
    let remote = try station.open(blob)
    for _ in 0..<30 {
      let start = Int.random(in: 0..<blob.bytes.count, using: &random)
      try station.read(remote, start..<min(blob.bytes.count, start + 200_000), of: blob)
    }
    let isSmall = Deadline(milliseconds: 5000).wait {
      _ = try? station.store.cache?.makeRoom()
      return (try? station.store.cache?.diskBytes()).map { $0 <= limit } ?? false
    }
    #expect(isSmall)
  }

  @Test("what a killed process left half made is tidied up")
  func abandoned() throws {
    var random = SplitMix.announced("abandoned")
    let blob = TestBlob(count: 3 << 16, &random)
    let scratch = try Scratch()
    try fill(scratch, blob)
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    let old = try scratch.write("cache/sha256/\(blob.hex).map.1.2.tmp", [1, 2, 3])
    let running = try Descriptor.open("\(cache.blobFolder)/\(blob.hex).map.3.4.tmp", O_RDWR | O_CREAT)
    #expect(flock(running.rawValue, LOCK_SH) == 0)
    // One that died between giving the map its name and taking the old name away.
    #expect(link(cache.mapPath(blob.hex), "\(cache.mapPath(blob.hex)).5.6.tmp") == 0)
    #expect(try cache.evict() == 3 << 16)
    #expect(!fileExists(old))
    #expect(try listDirectory(cache.blobFolder) == ["\(blob.hex).map.3.4.tmp"])
  }
}
