import Glibc

/// splitmix64, so that a printed seed gives the same run anywhere.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  /// Seeded by `$WARMBLK_SEED`, else by the clock; says which.
  static func announced(_ what: String) -> SplitMix {
    let seed = getenv("WARMBLK_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64(time(nil))
    print("\(what): WARMBLK_SEED=\(seed)")
    return SplitMix(state: seed)
  }
}
