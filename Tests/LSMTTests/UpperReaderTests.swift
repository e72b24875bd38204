import Foundation
import LSMT
import Synchronization
import Testing

/// A writer and what it promises: the version of each sector that lookups must have reached, and the newest that they may
/// find. Sector `s` of version `v` is at blob sector `8 + v * sectors + s`.
private final class Versions: @unchecked Sendable {
  let sectors: Int
  let begun: UnsafeMutablePointer<Atomic<UInt64>>
  let done: UnsafeMutablePointer<Atomic<UInt64>>
  let hasEnded = Atomic<Bool>(false)
  let lookups = Atomic<Int>(0)
  let mistake = Mutex<String?>(nil)

  init(sectors: Int) {
    self.sectors = sectors
    begun = .allocate(capacity: sectors)
    done = .allocate(capacity: sectors)
    for sector in 0..<sectors {
      (begun + sector).initialize(to: Atomic(0))
      (done + sector).initialize(to: Atomic(0))
    }
  }

  deinit {
    begun.deallocate()
    done.deallocate()
  }

  func write(_ index: UpperIndex, _ version: UInt64, _ range: Range<Int>) {
    for sector in range { begun[sector].store(version, ordering: .relaxed) }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    index.insert(
      Segment(
        offset: UInt64(range.lowerBound), length: UInt32(range.count),
        moffset: 8 + version * UInt64(sectors) + UInt64(range.lowerBound))
    ) { _, _ in }
    for sector in range { done[sector].store(version, ordering: .releasing) }
  }

  /// Looks a piece up and says what is wrong with it.
  func check(_ view: UpperIndex.View, at sector: Int, limit: Int, _ least: inout [UInt64]) -> String? {
    for index in 0..<limit { least[index] = done[sector + index].load(ordering: .acquiring) }
    let piece = view.piece(at: UInt64(sector), limit: UInt64(limit))
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    guard piece.kind == .data, piece.sectors >= 1, piece.sectors <= limit, piece.blobSector >= 8 + UInt64(sector) else {
      return "\(piece) at \(sector)"
    }
    let (version, rest) = (piece.blobSector - 8 - UInt64(sector)).quotientAndRemainder(dividingBy: UInt64(sectors))
    if rest != 0 { return "blob sector \(piece.blobSector) for sector \(sector)" }
    for index in 0..<Int(piece.sectors) {
      let most = begun[sector + index].load(ordering: .acquiring)
      guard version >= least[index], version <= most else {
        return "sector \(sector + index): version \(version), where \(least[index])...\(most) is right"
      }
    }
    return nil
  }
}

@Suite("Lookups in the index of a writable layer while it changes")
struct UpperReaderTests {
  @Test("Every lookup finds for every sector what was there before a write or after it")
  func readersBesideAWriter() throws {
    let seed = Random.seeds(1)[0]
    let versions = Versions(sectors: 6000)
    let index = try UpperIndex(deviceSectors: UInt64(versions.sectors))
    versions.write(index, 0, 0..<versions.sectors)
    let ended = DispatchSemaphore(value: 0)
    for number in 0..<3 {
      Thread.detachNewThread {
        var random = Random(seed: seed &* 31 &+ UInt64(number))
        var least = [UInt64](repeating: 0, count: 64)
        let view = index.view
        while !versions.hasEnded.load(ordering: .relaxed) {
          let limit = 1 + random.below(64)
          let sector = random.below(versions.sectors - limit)
          if let found = versions.check(view, at: sector, limit: limit, &least) {
            versions.mistake.withLock { $0 = $0 ?? found }
          }
          versions.lookups.add(1, ordering: .relaxed)
        }
        ended.signal()
      }
    }
    var random = Random(seed: seed)
    let clock = ContinuousClock()
    let start = clock.now
    var version: UInt64 = 0
    while clock.now - start < .milliseconds(1500) {
      version += 1
      // Now and then large ones, so that blocks come and go.
      let count = 1 + random.below(random.chance(2) ? 5000 : 16)
      let first = random.below(versions.sectors - count)
      versions.write(index, version, first..<first + count)
    }
    versions.hasEnded.store(true, ordering: .relaxed)
    for _ in 0..<3 { #expect(ended.wait(timeout: .now() + 20) == .success, "a lookup does not end, seed \(seed)") }
    #expect(versions.mistake.withLock { $0 } == nil, "seed \(seed)")
    #expect(version > 1000 && versions.lookups.load(ordering: .relaxed) > 1000)
  }
}
