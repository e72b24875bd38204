import Posix

/// The last few blocks of which a queue needed only a part: reading a 64 KiB block in small pieces decodes it once.
struct BlockCache: ~Copyable {
  private static let slots = 8
  private static let slotBytes = 64 << 10
  private static let empty = UInt64.max

  private let memory: MemoryMapping
  private let keys: UnsafeMutablePointer<UInt64>
  private var next = 0

  init() throws(Errno) {
    memory = try MemoryMapping(anonymous: Self.slots * Self.slotBytes)
    keys = .allocate(capacity: Self.slots)
    keys.initialize(repeating: Self.empty, count: Self.slots)
  }

  deinit { keys.deallocate() }

  /// The content of a block, or nil.
  func find(layer: UInt8, block: Int) -> UnsafeMutableRawPointer? {
    let key = Self.key(layer, block)
    for slot in 0..<Self.slots where keys[slot] == key { return memory.base + slot &* Self.slotBytes }
    return nil
  }

  /// Memory for the content of a block, in place of the oldest one.
  mutating func replace(layer: UInt8, block: Int) -> UnsafeMutableRawPointer {
    let slot = next
    next = (next &+ 1) % Self.slots
    keys[slot] = Self.key(layer, block)
    return memory.base + slot &* Self.slotBytes
  }

  /// Forgets the block that was put in last: it could not be decoded.
  mutating func forgetLast() { keys[(next &+ Self.slots &- 1) % Self.slots] = Self.empty }

  /// Forgets all and gives the memory back.
  mutating func release() {
    keys.update(repeating: Self.empty, count: Self.slots)
    memory.discard(offset: 0, length: memory.count)
  }

  @inline(__always)
  private static func key(_ layer: UInt8, _ block: Int) -> UInt64 {
    UInt64(layer) << 56 | UInt64(truncatingIfNeeded: block)
  }
}
