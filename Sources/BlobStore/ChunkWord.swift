/// What a map says of one chunk, in a word that changes in one step.
///
///     63…56  state: 0 not here, 1 here
///     55…32  generation: counts how often the chunk was dropped
///     31…0   CRC-32C of the chunk's bytes, as `ChunkFile.sum` has it
struct ChunkWord: Equatable, BitwiseCopyable {
  let rawValue: UInt64

  @inline(__always)
  init(rawValue: UInt64) { self.rawValue = rawValue }

  @inline(__always)
  var isPresent: Bool { rawValue >> 56 == 1 }

  var crc: UInt32 { UInt32(truncatingIfNeeded: rawValue) }

  private var generation: UInt64 { rawValue >> 32 & 0xff_ffff }

  /// What a process notes of a chunk that it has checked: never 0, and another after each of the next 16383 drops.
  @inline(__always)
  var tag: UInt16 { UInt16(truncatingIfNeeded: rawValue >> 32) & 0x3fff | 1 << 15 }

  /// What it notes of one that it has checked, that a prefetch brought, and that nobody has read since.
  @inline(__always)
  var unreadTag: UInt16 { tag | 1 << 14 }

  /// The same chunk, here.
  func present(crc: UInt32) -> ChunkWord { ChunkWord(rawValue: 1 << 56 | generation << 32 | UInt64(crc)) }

  /// The same chunk, not here any more.
  var dropped: ChunkWord { ChunkWord(rawValue: ((generation &+ 1) & 0xff_ffff) << 32) }
}
