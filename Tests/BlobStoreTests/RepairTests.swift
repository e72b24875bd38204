import CLinux
import Glibc
import Posix
import Synchronization
import Testing
import TestSupport

@testable import BlobStore

/// What becomes of a cache that somebody or something has damaged.
@Suite struct RepairTests {
  enum Damage: String, CaseIterable, CustomTestStringConvertible {
    case bit, zeroes, hole, cut, empty, removed, longer
    var testDescription: String { rawValue }
  }

  @Test(
    "damaged bytes are repaired, counted and never served, trusted or not", arguments: Damage.allCases, [false, true])
  func damagedData(damage: Damage, isTrusted: Bool) throws {
    var random = SplitMix.announced("damagedData \(damage)")
    let blob = TestBlob(count: 12 << 16 + 777, &random)
    let scratch = try Scratch()
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    try fill(scratch, blob)
    if isTrusted { #expect(try #require(try cache.verify(blob.hex)).isTrusted) }
    let path = cache.dataPath(blob.hex)
    let victim = UInt64.random(in: 0..<blob.size, using: &random)
    switch damage {
    case .bit: try overwrite(path, at: victim, [blob.bytes[Int(victim)] ^ 1 << UInt8.random(in: 0..<8, using: &random)])
    case .zeroes: try overwrite(path, at: victim / 4096 * 4096, [UInt8](repeating: 0, count: 512))
    case .hole:
      let file = try Descriptor.open(path, O_RDWR)
      #expect(clinux_punch_hole(file.rawValue, Int64(victim / 4096 * 4096), 4096) == 0)
    case .cut: try Descriptor.open(path, O_RDWR).truncate(to: victim)
    case .empty: try Descriptor.open(path, O_RDWR).truncate(to: 0)
    case .removed: #expect(unlink(path) == 0)
    case .longer: try Descriptor.open(path, O_RDWR).truncate(to: blob.size + 100_000)
    }
    let station = try Station(scratch("cache"), [blob])
    let remote = try station.open(blob)
    for _ in 0..<20 {
      let start = Int.random(in: 0..<blob.bytes.count, using: &random)
      try station.read(remote, start..<min(blob.bytes.count, start + 100_000), of: blob)
    }
    try station.read(remote, 0..<blob.bytes.count, of: blob)
    // All chunks seem to be here, so the first that is mended makes the whole be looked at, which mends as well and counts at
    // its end.
    station.store.finishChecks(Deadline(milliseconds: 20_000))
    let repairs = station.store.counters.snapshot.repairs
    switch damage {
    case .longer: #expect(repairs == 0 && station.origin.log.requests.isEmpty)
    case .bit, .zeroes: #expect(repairs == 1)
    case .hole: #expect(repairs == min(4, UInt64(blob.chunks) - victim / 4096 * 4))
    case .cut: #expect(repairs == UInt64(blob.chunks) - victim >> 10)
    case .empty, .removed: #expect(repairs == UInt64(blob.chunks))
    }
    #expect(station.origin.deliveries(blob).allSatisfy { $0 <= 1 })
    // And that is what the cache has now, for everybody.
    try Station(scratch("cache"), []).read(remote, 0..<blob.bytes.count, of: blob)
  }

  @Test("a map with bits turned over serves nothing wrong")
  func damagedWords() throws {
    var random = SplitMix.announced("damagedWords")
    for round in 0..<60 {
      let blob = TestBlob(count: Int.random(in: 1...9 << 16, using: &random), &random)
      let scratch = try Scratch()
      let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
      try fill(scratch, blob, spans: (0..<blob.spans).filter { _ in Bool.random(using: &random) })
      var map = try readFile(cache.mapPath(blob.hex))
      for _ in 0..<Int.random(in: 1...20, using: &random) {
        // Every second time beyond the header, which is checked as a whole.
        let from = Bool.random(using: &random) ? 4096 : 0
        map[Int.random(in: from..<map.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      if round % 10 == 0 { map.removeLast(Int.random(in: 1...map.count, using: &random)) }
      try scratch.write("cache/sha256/\(blob.hex).map", map)
      let station = try Station(scratch("cache"), [blob])
      try station.read(try station.open(blob), 0..<blob.bytes.count, of: blob)
    }
  }

  @Test("a map of another blob, or of another version, is replaced")
  func foreignMap() throws {
    var random = SplitMix.announced("foreignMap")
    let blobs = (0..<2).map { _ in TestBlob(count: 3 << 16, &random) }
    let scratch = try Scratch()
    let cache = try NodeCache(path: scratch("cache"), limit: 1 << 30)
    for blob in blobs { try fill(scratch, blob) }
    try run(["cp", cache.mapPath(blobs[0].hex), cache.mapPath(blobs[1].hex)])
    let station = try Station(scratch("cache"), blobs)
    try station.read(try station.open(blobs[1]), 0..<3 << 16, of: blobs[1])
    #expect(station.origin.log.bytes == 3 << 16)
    try overwrite(cache.mapPath(blobs[0].hex), at: 7, [1])
    try station.read(try station.open(blobs[0]), 0..<3 << 16, of: blobs[0])
    #expect(station.origin.log.bytes == 6 << 16)
  }

  @Test("what a reader found damaged is fetched anew, though its sum is right")
  func repair() throws {
    var random = SplitMix.announced("repair")
    let blob = TestBlob(count: 5 << 16, &random)
    let scratch = try Scratch()
    // The registry sends something else the first time.
    let station = try Station(scratch("cache"), [blob]) { request in
      FakeOrigin.Answer(inverted: request.number == 0 ? 70_000..<70_010 : nil)
    }
    let remote = try station.open(blob)
    // Not all of it: then its sha256 would tell.
    let bytes = try station.bytes(remote, 1 << 16..<5 << 16)
    #expect(!blob.has(bytes, at: 1 << 16))
    let answer = OneShot<BlobError?>()
    let lease = try #require(remote.view.lease(70_000, 1))
    station.store.repair(remote, 70_000..<70_001, lease, deadline: Deadline(milliseconds: 5000)) { answer.set($0) }
    #expect(answer.wait(Deadline(milliseconds: 5000)) == .some(nil))
    // Another reader that saw the same comes late: what is there by now is not what it saw.
    let late = OneShot<BlobError?>()
    station.store.repair(remote, 70_000..<70_001, lease, deadline: Deadline(milliseconds: 5000)) { late.set($0) }
    #expect(late.wait(Deadline(milliseconds: 5000)) == .some(nil))
    try station.read(remote, 0..<5 << 16, of: blob)
    #expect(station.store.counters.snapshot.repairs == 1)
  }

  @Test("damage under load is found by the sums of what is read next, and no reader gets a wrong byte of it")
  func underLoad() throws {
    var random = SplitMix.announced("underLoad")
    let blob = TestBlob(count: 30 << 16, &random)
    let scratch = try Scratch()
    try fill(scratch, blob)
    let path = try NodeCache(path: scratch("cache"), limit: 1 << 30).dataPath(blob.hex)
    let seed = random.next()
    for round in 0..<20 {
      // Damaged before it is opened: what this process has read once is not summed up again.
      for _ in 0..<5 {
        let victim = Int.random(in: 0..<blob.bytes.count, using: &random)
        try overwrite(path, at: UInt64(victim), [~blob.bytes[victim]])
      }
      let stations = try (0..<2).map { _ in try Station(scratch("cache"), [blob]) }
      onThreads(4) { number in
        var random = SplitMix(state: seed &+ UInt64(number * 1000 + round))
        let station = stations[number % 2]
        let remote = try station.open(blob)
        for _ in 0..<60 {
          let start = Int.random(in: 0..<blob.bytes.count, using: &random)
          try station.read(remote, start..<min(blob.bytes.count, start + 70_000), of: blob)
        }
      }
    }
  }
}

/// Fills a cache with spans of a blob, all of them if none are named, and closes it.
func fill(_ scratch: Scratch, _ blob: TestBlob, spans: [Int]? = nil) throws {
  let file = try NodeCache(path: scratch("cache"), limit: 1 << 40).open(blob.hex, size: blob.size)
  for (number, chunks) in file.spans.enumerated() where spans?.contains(number) ?? true {
    let range = file.bytes(of: chunks)
    try blob.bytes.withUnsafeBytes {
      try file.store(chunks, UnsafeRawBufferPointer(rebasing: $0[Int(range.lowerBound)..<Int(range.upperBound)]))
    }
  }
}
