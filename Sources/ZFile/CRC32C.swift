import CCodecs

/// CRC-32C as the processors' instructions compute it: Castagnoli polynomial, reflected (0x82F63B78), without the
/// inversions before and after that the ordinary CRC-32C has.
///
/// overlaybd uses it everywhere: seed 0 for header digests, jump tables and traces, seed 100007 for ZFile blocks.
///
/// - Parameters:
///   - bytes: what to sum up; may be empty, need not be aligned.
///   - seed: the state to start from; a result, to go on where another call stopped.
public func crc32cRaw(_ bytes: UnsafeRawBufferPointer, seed: UInt32) -> UInt32 {
  CRC32C().sum(bytes, seed: seed)
}

/// The processor's way to compute the CRC, found out once. Whoever needs many sums keeps one of these, because looking
/// at a global costs a call.
struct CRC32C {
  private let shifts = streamShifts

  @inline(__always)
  func sum(_ bytes: UnsafeRawBufferPointer, seed: UInt32) -> UInt32 {
    guard let base = bytes.baseAddress else { return seed }
    guard let shifts else { return crc32cByTable(bytes, seed: seed) }
    return ccodecs_crc32c(base.assumingMemoryBound(to: UInt8.self), bytes.count, seed, shifts)
  }
}

/// The seed of a ZFile block's CRC.
let blockChecksumSeed: UInt32 = 100_007

private let reflectedPolynomial: UInt32 = 0x82F6_3B78

/// What `ccodecs_crc32c` joins its streams with; nil if the processor has no CRC-32C instructions.
///
/// Entry j is x^(64 j + 31) mod P. Reflected, x^31 is 1, and eight zero bytes multiply a state by x^64.
nonisolated(unsafe) private let streamShifts: UnsafePointer<UInt32>? = {
  guard ccodecs_has_crc32c() != 0 else { return nil }
  let count = 2 * Int(CCODECS_CRC32C_STREAM_WORDS) + 1
  let shifts = UnsafeMutablePointer<UInt32>.allocate(capacity: count)
  shifts.initialize(to: 1)
  let word: UInt64 = 0
  withUnsafeBytes(of: word) { zeroes in
    for j in 1..<count {
      (shifts + j).initialize(to: crc32cByTable(zeroes, seed: shifts[j - 1]))
    }
  }
  return UnsafePointer(shifts)
}()

/// Eight tables of 256: row r is the CRC of a byte followed by r zero bytes.
nonisolated(unsafe) private let byteTables: UnsafePointer<UInt32> = {
  let tables = UnsafeMutablePointer<UInt32>.allocate(capacity: 8 * 256)
  for byte in 0..<256 {
    var state = UInt32(byte)
    for _ in 0..<8 { state = (state >> 1) ^ (state & 1 == 1 ? reflectedPolynomial : 0) }
    (tables + byte).initialize(to: state)
  }
  for i in 256..<8 * 256 {
    let shorter = tables[i - 256]
    (tables + i).initialize(to: (shorter >> 8) ^ tables[Int(shorter & 0xFF)])
  }
  return UnsafePointer(tables)
}()

/// `crc32cRaw` for processors without the instructions, eight bytes a step.
func crc32cByTable(_ bytes: UnsafeRawBufferPointer, seed: UInt32) -> UInt32 {
  let tables = byteTables
  var state = seed
  var at = 0
  while bytes.count - at >= 8 {
    let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)) ^ UInt64(state)
    state = 0
    for i in 0..<8 {
      state ^= tables[(7 - i) * 256 + Int((word >> (8 * UInt64(i))) & 0xFF)]
    }
    at += 8
  }
  while at < bytes.count {
    state = (state >> 8) ^ tables[Int((state ^ UInt32(bytes[at])) & 0xFF)]
    at += 1
  }
  return state
}
