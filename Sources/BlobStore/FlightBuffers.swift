/// Memory for flights. Those of long ones are used again: else the kernel would zero each page of them before the network
/// writes over it, which was a fifth of all that filling a cache costs.
///
/// Of the store's loop only.
struct FlightBuffers: ~Copyable {
  /// Bytes of a long flight's memory.
  private static let longBytes = Flight.chunksMax << Int(ChunkMap.chunkShift)
  /// How many are kept: a reader in order has one flight under way and one ahead of it.
  private static let keptMax = 2

  private var kept: [UnsafeMutableRawPointer] = []

  deinit { for buffer in kept { buffer.deallocate() } }

  /// Memory for `count` bytes.
  mutating func take(_ count: Int) -> UnsafeMutableRawBufferPointer {
    guard count > Self.longBytes / 4 else { return .allocate(byteCount: count, alignment: 4096) }
    let buffer = kept.popLast() ?? .allocate(byteCount: Self.longBytes, alignment: 4096)
    return UnsafeMutableRawBufferPointer(start: buffer, count: count)
  }

  /// Takes memory back that `take` gave.
  mutating func put(_ buffer: UnsafeMutableRawBufferPointer) {
    guard let base = buffer.baseAddress else { return }
    if buffer.count > Self.longBytes / 4, kept.count < Self.keptMax { kept.append(base) } else { base.deallocate() }
  }

  /// Gives the kernel back what nobody uses.
  mutating func release() {
    for buffer in kept { buffer.deallocate() }
    kept = []
  }
}
