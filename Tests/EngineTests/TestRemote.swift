import Glibc
import Posix
import Synchronization

@testable import BlobStore

/// A remote layer without a store: two files with holes, whose chunks come, go and spoil as the test has it.
final class TestRemote {
  /// The whole blob.
  let truth: [UInt8]
  /// What the cache's file holds: garbage where a chunk is not here.
  private(set) var cache: [UInt8]
  /// What memory holds.
  private(set) var memory: [UInt8]
  /// Whether damage is noticed when a block of it is decoded.
  let hasChecksums: Bool
  let view: BlobView
  private let cacheMap: ChunkMap
  private let memoryMap: ChunkMap
  private let checked: UnsafeMutablePointer<Atomic<UInt16>>
  private let hits: UnsafeMutablePointer<Atomic<UInt64>>
  private let clock: UnsafeMutablePointer<Atomic<UInt32>>

  init(_ truth: [UInt8], hasChecksums: Bool) throws {
    self.truth = truth
    self.hasChecksums = hasChecksums
    cache = [UInt8](repeating: 0xcc, count: truth.count)
    memory = [UInt8](repeating: 0xdd, count: truth.count)
    let chunks = ChunkMap.chunkCount(ofBlob: UInt64(truth.count))
    cacheMap = try ChunkMap(file: nil, chunks: chunks)
    memoryMap = try ChunkMap(file: nil, chunks: chunks)
    checked = .allocate(capacity: chunks)
    for chunk in 0..<chunks { (checked + chunk).initialize(to: Atomic(0)) }
    hits = .allocate(capacity: 1)
    hits.initialize(to: Atomic(0))
    clock = .allocate(capacity: 1)
    clock.initialize(to: Atomic(1))
    let plain = BlobView(cache: cacheMap.view, memory: memoryMap.view, checked: checked, hits: hits, clock: clock)
    view = hasChecksums ? plain.forCheckingReader : plain
  }

  deinit {
    checked.deallocate()
    hits.deallocate()
    clock.deallocate()
  }

  var chunkCount: Int { cacheMap.chunkCount }

  func chunks(_ offset: UInt64, _ count: Int) -> ClosedRange<Int> {
    Int(offset >> ChunkMap.chunkShift)...Int((offset + UInt64(count) - 1) >> ChunkMap.chunkShift)
  }

  private func bytes(_ chunk: Int) -> Range<Int> {
    let size = Int(ChunkMap.chunkBytes)
    return chunk * size..<min(truth.count, (chunk + 1) * size)
  }

  private var known: Set<Int> = []

  /// Brings chunks to the cache, or to memory; whether none of them has ever been here.
  @discardableResult
  func bring(_ chunks: ClosedRange<Int>, toMemory: Bool) -> Bool {
    defer { known.formUnion(chunks) }
    for chunk in chunks {
      if toMemory {
        memory.replaceSubrange(bytes(chunk), with: truth[bytes(chunk)])
        memoryMap.view.publish(chunk, crc: 1)
      } else {
        cache.replaceSubrange(bytes(chunk), with: truth[bytes(chunk)])
        cacheMap.view.publish(chunk, crc: 1)
        // As if another process had brought them: whoever finds damage himself does not need to know more.
        if !hasChecksums { checked[chunk].store(cacheMap.view.word(chunk).tag, ordering: .relaxed) }
      }
    }
    return known.isDisjoint(with: chunks)
  }

  /// Drops a chunk from both, as other processes may at any time.
  func drop(_ chunk: Int) {
    if cacheMap.view.word(chunk).isPresent { _ = cacheMap.view.drop(chunk) }
    if memoryMap.view.word(chunk).isPresent { _ = memoryMap.view.drop(chunk) }
    fill(&cache, chunk, 0xcc)
    fill(&memory, chunk, 0xdd)
  }

  private func fill(_ file: inout [UInt8], _ chunk: Int, _ value: Int32) {
    let bytes = bytes(chunk)
    _ = file.withUnsafeMutableBytes { memset($0.baseAddress! + bytes.lowerBound, value, bytes.count) }
  }

  /// Changes bytes of a chunk that stay believed.
  func spoil(_ chunk: Int) {
    for position in stride(from: bytes(chunk).lowerBound, to: bytes(chunk).upperBound, by: 512) {
      cache[position] ^= 0x55
      memory[position] ^= 0x55
    }
  }
}
