import Glibc

/// splitmix64, so that a printed seed gives the same run anywhere.
public struct SplitMix: RandomNumberGenerator, Sendable {
  /// What the next number comes from.
  public var state: UInt64

  /// Starts from a seed.
  public init(state: UInt64) { self.state = state }

  /// The next number.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  /// `count` bytes that do not compress.
  public mutating func bytes(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count { withUnsafeBytes(of: next()) { bytes += $0 } }
    return Array(bytes.prefix(count))
  }

  /// Seeded by `$WARMBLK_SEED`, else by the clock; says which.
  public static func announced(_ what: String) -> SplitMix {
    let seed = getenv("WARMBLK_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64(time(nil))
    print("\(what): WARMBLK_SEED=\(seed)")
    return SplitMix(state: seed)
  }
}
