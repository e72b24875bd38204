import Synchronization

/// Whether bytes of a remote blob are here, for whoever reads them without asking anybody: plain loads, no lock.
/// Addresses; valid while the `RemoteBlob` lives.
///
/// A reader takes a lease on a range, reads, and asks whether the lease still holds. Chunks may be dropped at any time,
/// also by other processes, but a drop is announced before the bytes go: what was read under a lease that still holds
/// is what was stored.
public struct BlobView: BitwiseCopyable, @unchecked Sendable {
  /// Which of a blob's two files has a range.
  public enum Place: UInt8, BitwiseCopyable, Sendable {
    /// The node's cache.
    case cache
    /// This process's memory: what the cache had no room for.
    case memory
  }

  /// Where a range can be read, as long as nothing is dropped.
  public struct Lease: BitwiseCopyable, Sendable {
    /// The file that has all of it.
    public let place: Place
    let drops: UInt64
    /// The words of its chunks, mixed.
    let stamp: UInt64
  }

  let cache: ChunkMap.View
  let memory: ChunkMap.View
  /// For each chunk of the cache, the `ChunkWord.tag` that this process has checked, or the `unreadTag`.
  let checked: UnsafeMutablePointer<Atomic<UInt16>>
  /// Chunks that were read first after a prefetch had brought them.
  let hits: UnsafeMutablePointer<Atomic<UInt64>>
  /// Now, in seconds since 1970, a bit behind.
  let clock: UnsafePointer<Atomic<UInt32>>
  /// Whether the reader finds damage in what he reads himself.
  private(set) var isReaderChecking = false

  init(
    cache: ChunkMap.View, memory: ChunkMap.View, checked: UnsafeMutablePointer<Atomic<UInt16>>,
    hits: UnsafeMutablePointer<Atomic<UInt64>>, clock: UnsafePointer<Atomic<UInt32>>
  ) {
    self.cache = cache
    self.memory = memory
    self.checked = checked
    self.hits = hits
    self.clock = clock
  }

  /// The same for a reader to whom each block that he reads has a checksum of its own: a lease is not kept back until a
  /// chunk, of which he may want a sixteenth, has been read as a whole. What he finds damaged he has repaired
  /// (``BlobStore/repair(_:_:deadline:completion:)``).
  public var forCheckingReader: BlobView {
    var view = self
    view.isReaderChecking = true
    return view
  }

  /// A lease on `count` bytes, at least one, at `offset` of the blob's file; nil when not all of them are here. The blob
  /// must have the range: nothing is checked on this path.
  @inline(__always)
  public func lease(_ offset: UInt64, _ count: UInt64) -> Lease? {
    let (first, last) = chunks(offset, count)
    // Before the words: a drop that comes between is then seen as one that came later.
    let drops = cache.drops.pointee.load(ordering: .acquiring)
    var stamp: UInt64 = 0
    var chunk = first
    while chunk <= last {
      let word = cache.word(chunk)
      if !isChecked(chunk, word), !noteFirstRead(chunk, word) { return memoryLease(first, last) }
      stamp = Self.mix(stamp, word)
      chunk &+= 1
    }
    touch(first, last)
    return Lease(place: .cache, drops: drops, stamp: stamp)
  }

  /// Whether there is a lease on the range for somebody who takes one now. A use, but not yet a read: whoever brought it
  /// may not be who reads it.
  func canLease(_ offset: UInt64, _ count: UInt64) -> Bool {
    let (first, last) = chunks(offset, count)
    guard (first...last).allSatisfy({ isChecked($0) }) else { return memoryLease(first, last) != nil }
    touch(first, last)
    return true
  }

  /// A chunk that this process has not read before: whether it may. One that a prefetch brought was checked then, and is
  /// counted.
  @inline(never)
  private func noteFirstRead(_ chunk: Int, _ word: ChunkWord) -> Bool {
    guard isUnread(chunk, word) else { return isReaderChecking && word.isPresent }
    let change = checked[chunk].compareExchange(expected: word.unreadTag, desired: word.tag, ordering: .relaxed)
    if change.exchanged { hits.pointee.add(1, ordering: .relaxed) }
    return true
  }

  /// Notes that this process has checked a chunk of the cache that is what `word` says.
  func noteChecked(_ chunk: Int, _ word: ChunkWord, isUnread: Bool) {
    checked[chunk].store(isUnread ? word.unreadTag : word.tag, ordering: .releasing)
  }

  /// Whether a prefetch brought a chunk, this process has found it whole, and nobody has read it.
  func isUnread(_ chunk: Int, _ word: ChunkWord) -> Bool {
    word.isPresent && checked[chunk].load(ordering: .relaxed) == word.unreadTag
  }

  @inline(never)
  private func memoryLease(_ first: Int, _ last: Int) -> Lease? {
    let drops = memory.drops.pointee.load(ordering: .acquiring)
    var stamp: UInt64 = 0
    for chunk in first...last {
      let word = memory.word(chunk)
      guard word.isPresent else { return nil }
      stamp = Self.mix(stamp, word)
    }
    return Lease(place: .memory, drops: drops, stamp: stamp)
  }

  /// Whether what was read of the lease's range since it was taken is what was stored. If not, it has to be read again.
  @inline(__always)
  public func holds(_ lease: Lease, _ offset: UInt64, _ count: UInt64) -> Bool {
    // Orders the loads of the read before that of the count.
    atomicMemoryFence(ordering: .acquiring)
    let map = lease.place == .cache ? cache : memory
    if map.drops.pointee.load(ordering: .acquiring) == lease.drops { return true }
    return hasSameChunks(lease, offset, count)
  }

  /// Something was dropped: was it of this range? A chunk that was dropped and brought again has another generation.
  @inline(never)
  private func hasSameChunks(_ lease: Lease, _ offset: UInt64, _ count: UInt64) -> Bool {
    let map = lease.place == .cache ? cache : memory
    let (first, last) = chunks(offset, count)
    var stamp: UInt64 = 0
    for chunk in first...last { stamp = Self.mix(stamp, map.word(chunk)) }
    return stamp == lease.stamp
  }

  @inline(__always)
  private func chunks(_ offset: UInt64, _ count: UInt64) -> (first: Int, last: Int) {
    (
      Int(truncatingIfNeeded: offset >> ChunkMap.chunkShift),
      Int(truncatingIfNeeded: (offset &+ count &- 1) >> ChunkMap.chunkShift)
    )
  }

  @inline(__always)
  private static func mix(_ stamp: UInt64, _ word: ChunkWord) -> UInt64 {
    (stamp << 7 | stamp >> 57) &* 0x9e37_79b9_7f4a_7c15 ^ word.rawValue
  }

  /// Whether the cache has a chunk, and this process has found it whole. That others have, or that the whole blob once
  /// had its sha256, says nothing of what a disk gives back today.
  @inline(__always)
  func isChecked(_ chunk: Int) -> Bool {
    let word = cache.word(chunk)
    return isChecked(chunk, word) || isUnread(chunk, word)
  }

  @inline(__always)
  private func isChecked(_ chunk: Int, _ word: ChunkWord) -> Bool {
    word.isPresent && checked[chunk].load(ordering: .relaxed) == word.tag
  }

  /// Notes the time, which decides what goes first when room is made. Written only when it changed: the memory is a
  /// file's.
  @inline(__always)
  private func touch(_ first: Int, _ last: Int) {
    let now = clock.pointee.load(ordering: .relaxed)
    var chunk = first
    while chunk <= last | (ChunkMap.spanChunks &- 1) {
      if cache.lastUse(chunk) != now { cache.use(chunk, now) }
      chunk &+= ChunkMap.spanChunks
    }
  }
}
