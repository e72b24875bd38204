/// Ranges of a disk in the order in which they were first named; no block is in it twice.
struct RangeList {
  /// Bytes.
  let blockSize: UInt64
  let diskSize: UInt64
  private(set) var ranges: [DiskRange] = []
  /// Bytes of all.
  private(set) var total: UInt64 = 0
  /// A bit for each block, 64 to an entry; those with nothing are absent.
  private var seen: [UInt64: UInt64] = [:]

  init(blockSize: UInt64, diskSize: UInt64) {
    self.blockSize = blockSize
    self.diskSize = diskSize
  }

  /// Adds the blocks of `range` that are not there yet. Returns the bytes that came in.
  @discardableResult
  mutating func add(_ range: DiskRange, _ disk: Disk) throws(FileSystemError) -> UInt64 {
    if range.isEmpty { return 0 }
    let before = total
    var block = range.lowerBound / blockSize
    let end = range.upperBound.dividedUp(by: blockSize)
    while block < end {
      try disk.work(1)
      let word = block / 64
      let wanted = Self.mask(block % 64, min(64, end - word * 64))
      let new = wanted & ~(seen[word] ?? 0)
      if new != 0 {
        seen[word, default: 0] |= new
        append(new, word * 64)
      }
      block = (word + 1) * 64
    }
    return total - before
  }

  /// Bits from `first` up to, not including, `end`.
  private static func mask(_ first: UInt64, _ end: UInt64) -> UInt64 {
    let upper = end == 64 ? UInt64.max : 1 << end - 1
    return upper & ~(1 << first - 1)
  }

  private mutating func append(_ bits: UInt64, _ base: UInt64) {
    var rest = bits
    while rest != 0 {
      let first = UInt64(rest.trailingZeroBitCount)
      let length = UInt64((~(rest >> first)).trailingZeroBitCount)
      let start = (base + first) * blockSize
      let end = min((base + first + length) * blockSize, diskSize)
      if let last = ranges.last, last.upperBound == start {
        ranges[ranges.count - 1] = last.lowerBound..<end
      } else {
        ranges.append(start..<end)
      }
      total += end - start
      rest = first + length == 64 ? 0 : rest & ~Self.mask(first, first + length)
    }
  }
}
