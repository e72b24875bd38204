import CLinux
import Glibc
import Synchronization

/// HOT: an entry of the table of an ``UpperIndex``: what some thousand sectors of the device are. Zero bytes are a region
/// that nothing was ever written to.
@usableFromInline
@frozen
struct UpperRegion: ~Copyable {
  /// Bit 0: the lock. Bits 1...31: the pieces that the block has room for; 0 when there is no block. Bits 32...63: the
  /// pieces that there are.
  @usableFromInline let state: Atomic<UInt64>
  /// The address of an ``UpperBlock``; without a block the ``UpperValue`` of all sectors. Readers look at it with the
  /// lock only, so that the writer can free what it replaced.
  @usableFromInline var content: UInt64

  /// The state without the lock. The writer may ask for it without the lock, for nobody else changes it.
  @inlinable
  @inline(__always)
  var peek: State { State(rawValue: state.load(ordering: .relaxed) & ~1) }

  /// Takes the lock: it is held for one look-up or one change, never over a system call.
  @inlinable
  @inline(__always)
  func lock() -> State {
    let found = state.load(ordering: .relaxed)
    if found & 1 == 0 {
      let (isOurs, _) = state.weakCompareExchange(
        expected: found, desired: found | 1, successOrdering: .acquiring, failureOrdering: .relaxed)
      if isOurs { return State(rawValue: found) }
    }
    return waitAndLock()
  }

  @usableFromInline
  @inline(never)
  func waitAndLock() -> State {
    var rounds = 0
    while true {
      let found = state.load(ordering: .relaxed)
      if found & 1 == 0 {
        let (isOurs, _) = state.weakCompareExchange(
          expected: found, desired: found | 1, successOrdering: .acquiring, failureOrdering: .relaxed)
        if isOurs { return State(rawValue: found) }
      }
      rounds += 1
      // Whoever holds it so long does not run: let it, if it waits for this very CPU.
      if rounds < 200 { clinux_pause() } else { sched_yield() }
    }
  }

  /// Gives the lock back and makes `newState` what others see.
  @inlinable
  @inline(__always)
  func unlock(_ newState: State) { state.store(newState.rawValue, ordering: .releasing) }

  /// What ``state`` says besides the lock.
  @usableFromInline
  @frozen
  struct State: Equatable, BitwiseCopyable {
    @usableFromInline let rawValue: UInt64

    @inlinable
    @inline(__always)
    init(rawValue: UInt64) { self.rawValue = rawValue }

    init(count: Int, capacity: Int) { rawValue = UInt64(count) << 32 | UInt64(capacity) << 1 }

    @inlinable var count: Int { @inline(__always) get { Int(truncatingIfNeeded: rawValue >> 32) } }
    @inlinable var capacity: Int { @inline(__always) get { Int(truncatingIfNeeded: rawValue & 0xFFFF_FFFE) >> 1 } }
    /// Whether nothing was ever written there.
    @inlinable var isUntouched: Bool { @inline(__always) get { rawValue == 0 } }
  }
}

/// HOT: the pieces of a region. Each begins at its start, counted from the region's first sector, and ends where the next
/// one begins; what is not mapped is a piece too, so the first begins at 0. After the last start comes the region's size.
///
/// Starts lie close together, apart from the values: a search looks at starts, and then at one value.
@usableFromInline
@frozen
struct UpperBlock: BitwiseCopyable {
  /// The values, `capacity` of them; then the starts.
  @usableFromInline let values: UnsafeMutablePointer<UpperValue>
  @usableFromInline let starts: UnsafeMutablePointer<UInt32>

  @inlinable
  @inline(__always)
  init(address: UInt64, capacity: Int) {
    let memory = UnsafeMutableRawPointer(bitPattern: UInt(address)).unsafelyUnwrapped
    values = memory.assumingMemoryBound(to: UpperValue.self)
    starts = (memory + capacity &* 8).assumingMemoryBound(to: UInt32.self)
  }

  static func allocate(capacity: Int) -> UpperBlock {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount(capacity: capacity), alignment: 8)
    return UpperBlock(address: UInt64(UInt(bitPattern: memory)), capacity: capacity)
  }

  var address: UInt64 { UInt64(UInt(bitPattern: values)) }

  func deallocate() { values.deallocate() }

  static func byteCount(capacity: Int) -> Int { capacity * 12 + 4 }

  /// Room for `count` pieces where there was room for `current`: that is kept as long as it is neither too small nor three
  /// times too large. Few sizes, so that memory that one region gives back suits others.
  static func capacity(for count: Int, current: Int) -> Int {
    if count <= current, current <= 4 || count * 3 > current { return current }
    var size = 4
    // 4, 6, 8, 12, 16, 24 …
    while size < count { size = size & (size - 1) == 0 ? size / 2 * 3 : size / 3 * 4 }
    return size
  }

  /// The piece, of `count`, that sector `offset` of the region is in.
  @inlinable
  @inline(__always)
  func index(of offset: UInt32, count: Int) -> Int {
    var index = 0
    var length = count
    while length > 1 {
      let half = length &>> 1
      // No jump, which would be predicted wrongly every other time.
      index &+= half & (0 &- (starts[index &+ half] <= offset ? 1 : 0))
      length &-= half
    }
    return index
  }
}
