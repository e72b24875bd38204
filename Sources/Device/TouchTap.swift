import Posix
import Synchronization

/// Where one queue puts what a recording wants of it: the bitmap of the disk's blocks, which all queues share, and a ring
/// of its own. The queue's thread writes, the recorder's thread takes.
///
/// Neither can grow: where the ring is full, blocks stay unmarked, so that the next read of them can still be the first
/// one, and the loss is counted.
struct TouchTap: ~Copyable {
  /// Consecutive blocks that nobody had touched before.
  struct Entry: BitwiseCopyable {
    /// Nanoseconds since the recording began.
    var time: UInt64
    var firstBlock: UInt64
    var count: UInt64
  }

  /// What is recorded as one: a page, the least that a cache of the disk asks for.
  static let blockShift: UInt64 = 12
  /// Sectors of a block are 2 to this.
  static let sectorShift = blockShift - 9
  /// Entries of a ring, 192 KiB. A power of two.
  static let capacity = 8192
  /// The most entries that a word of the bitmap, and what is left of the word before it, may take.
  private static let entriesOfWord: UInt64 = 33

  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  private let ring: UnsafeMutablePointer<Entry>
  private let began: UInt64
  private let written = Atomic<UInt64>(0)
  private let taken = Atomic<UInt64>(0)
  private let lost = Atomic<UInt64>(0)

  /// `began` is the time of the start, as `monotonicNanoseconds` tells it.
  init(words: UnsafeMutablePointer<Atomic<UInt64>>, ring: UnsafeMutablePointer<Entry>, began: UInt64) {
    self.words = words
    self.ring = ring
    self.began = began
  }

  // MARK: The queue's thread

  /// Records which blocks of a read are touched first by it. The clock is read for those only.
  func touch(startSector: UInt64, sectors: UInt64) {
    var block = startSector &>> Self.sectorShift
    let last = (startSector &+ sectors &- 1) &>> Self.sectorShift
    var entry = Entry(time: 0, firstBlock: 0, count: 0)
    var isComplete = true
    while block <= last {
      let bit = block & 63
      let count = min(64 &- bit, last &- block &+ 1)
      let mask = (UInt64.max &>> (64 &- count)) &<< bit
      let word = words + Int(truncatingIfNeeded: block &>> 6)
      let untouched = mask & ~word.pointee.load(ordering: .relaxed)
      if untouched != 0 {
        if hasRoom {
          let before = word.pointee.bitwiseOr(untouched, ordering: .relaxed).oldValue
          add(untouched & ~before, of: block &- bit, to: &entry)
        } else {
          isComplete = false
        }
      }
      block &+= count
    }
    put(entry)
    if !isComplete { lost.store(lost.load(ordering: .relaxed) &+ 1, ordering: .relaxed) }
  }

  private var hasRoom: Bool {
    let used = written.load(ordering: .relaxed) &- taken.load(ordering: .acquiring)
    return UInt64(Self.capacity) &- used >= Self.entriesOfWord
  }

  /// Cuts the bits of a word into runs. `entry` is the run that may go on.
  private func add(_ bits: UInt64, of wordStart: UInt64, to entry: inout Entry) {
    var rest = bits
    while rest != 0 {
      let start = UInt64(rest.trailingZeroBitCount)
      let count = UInt64((~(rest &>> start)).trailingZeroBitCount)
      rest &= count == 64 ? 0 : ~((UInt64.max &>> (64 &- count)) &<< start)
      let first = wordStart &+ start
      if entry.count > 0, entry.firstBlock &+ entry.count == first {
        entry.count &+= count
      } else {
        put(entry)
        entry = Entry(
          time: entry.time == 0 ? monotonicNanoseconds() &- began : entry.time, firstBlock: first, count: count)
      }
    }
  }

  private func put(_ entry: Entry) {
    if entry.count == 0 { return }
    let position = written.load(ordering: .relaxed)
    ring[Int(truncatingIfNeeded: position) & (Self.capacity &- 1)] = entry
    written.store(position &+ 1, ordering: .releasing)
  }

  // MARK: The recorder's thread

  /// Gives `body` what was put in since the last call, oldest first.
  func drain(_ body: (Entry) -> Void) {
    var position = taken.load(ordering: .relaxed)
    let end = written.load(ordering: .acquiring)
    while position != end {
      let entry = ring[Int(truncatingIfNeeded: position) & (Self.capacity - 1)]
      position &+= 1
      taken.store(position, ordering: .releasing)
      body(entry)
    }
  }

  /// Reads of which blocks were lost because the ring was full.
  var lostCount: UInt64 { lost.load(ordering: .relaxed) }
}

/// What a queue asks for each request: whether anything is recorded. Off is one load and one branch.
///
/// The recorder may take a tap away at any time. It waits until the queue is not inside then, so that what the tap
/// points to can go.
struct TouchSlot: ~Copyable {
  private let tap = Atomic<UnsafeMutablePointer<TouchTap>?>(nil)
  private let isInside = Atomic<Bool>(false)

  /// On the queue's thread: a valid read of the disk has arrived.
  @inline(__always)
  func note(startSector: UInt64, sectors: UInt64) {
    if tap.load(ordering: .relaxed) != nil { record(startSector: startSector, sectors: sectors) }
  }

  @inline(never)
  private func record(startSector: UInt64, sectors: UInt64) {
    // Either `set` sees that we are inside, or we see what it has set: both sides write before they read.
    isInside.store(true, ordering: .sequentiallyConsistent)
    if let tap = tap.load(ordering: .sequentiallyConsistent) {
      tap.pointee.touch(startSector: startSector, sectors: sectors)
    }
    isInside.store(false, ordering: .releasing)
  }

  /// On the recorder's thread: what the queue uses from now on.
  func set(_ new: UnsafeMutablePointer<TouchTap>?) { tap.store(new, ordering: .sequentiallyConsistent) }

  /// Waits until the queue cannot use what was set before any more. It is inside for less than a microsecond, unless its
  /// thread gets no processor; false when the deadline came first.
  func waitUntilUnused(_ deadline: Deadline) -> Bool {
    deadline.wait(interval: 1) { !isInside.load(ordering: .sequentiallyConsistent) }
  }
}
