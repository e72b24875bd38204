import UpperLayer

/// WRITEs that are to become one call: where their data is and goes, and whose they are. Memory is taken at the start.
struct WriteTable: @unchecked Sendable {
  /// Writes that are gathered at the most: as many as one append of the upper takes, so that all of them or none are mapped.
  static let capacityMax = 64
  /// Bytes from which on no more are gathered, so that the first of them does not wait long for its answer.
  static let bytesMax = 8 << 20

  let capacity: Int
  private let pieces: UnsafeMutablePointer<UpperWrite>
  private let owners: UnsafeMutablePointer<Owner>
  private let state: UnsafeMutablePointer<(count: Int, bytes: Int)>

  /// A request that waits for its data to be written.
  struct Owner: BitwiseCopyable {
    let tag: UInt32
    /// Whether it has to be durable before it is answered.
    let goesThroughCache: Bool
  }

  init(capacity: Int) {
    self.capacity = capacity
    pieces = .allocate(capacity: capacity)
    owners = .allocate(capacity: capacity)
    state = .allocate(capacity: 1)
    state.initialize(to: (0, 0))
  }

  func deallocate() {
    pieces.deallocate()
    owners.deallocate()
    state.deallocate()
  }

  @inline(__always)
  var count: Int { state.pointee.count }

  /// Adds a write. True when the table wants to be emptied.
  @inline(__always)
  func add(_ piece: UpperWrite, _ owner: Owner) -> Bool {
    let place = state.pointee.count
    (pieces + place).initialize(to: piece)
    (owners + place).initialize(to: owner)
    state.pointee.count = place &+ 1
    state.pointee.bytes &+= piece.bytes.count
    return place &+ 1 == capacity || state.pointee.bytes >= Self.bytesMax
  }

  func owner(_ place: Int) -> Owner { owners[place] }
  func bytes(_ place: Int) -> UInt32 { UInt32(truncatingIfNeeded: pieces[place].bytes.count) }
  func sector(_ place: Int) -> UInt64 { pieces[place].sector }

  /// `count` writes from `place` on.
  func pieces(_ place: Int, _ count: Int) -> UnsafeBufferPointer<UpperWrite> {
    UnsafeBufferPointer(start: pieces + place, count: count)
  }

  func removeAll() { state.pointee = (0, 0) }
}
