extension ErofsIndex {
  /// Entries that share one block number: two in 8 bytes, or sixteen in 32.
  struct Pack: Equatable {
    /// Bytes.
    let start: UInt64
    let count: Int
    let bytesPerEntry: UInt64
    /// The first cluster.
    let first: UInt64

    var end: UInt64 { start + UInt64(count) * bytesPerEntry }
    /// Bits of an entry: what the block number, four bytes at the end, leaves.
    var entryBits: Int { (count * Int(bytesPerEntry) - 4) * 8 / count }
  }

  /// Packs of two come first, up to a multiple of 32 bytes, then packs of sixteen, if the file has them, then packs of two.
  func pack(of cluster: UInt64) -> Pack {
    let initial = (32 - start % 32) / 4 & 7
    let hasSixteens = advice & Advice.packed2 != 0 && initial < clusters
    let sixteens = hasSixteens ? (clusters - initial) / 16 * 16 : 0
    if cluster >= initial, cluster - initial < sixteens {
      let number = (cluster - initial) / 16
      return Pack(start: start + initial * 4 + number * 32, count: 16, bytesPerEntry: 2, first: initial + number * 16)
    }
    let (base, position) =
      cluster < initial ? (UInt64(0), start) : (initial + sixteens, start + initial * 4 + sixteens * 2)
    let number = (cluster - base) / 2
    return Pack(start: position + number * 8, count: 2, bytesPerEntry: 4, first: base + number * 2)
  }

  /// All entries of a pack. The block of a head is the pack's number and the blocks that the heads before it take.
  func compactClusters(_ pack: Pack, _ disk: Disk) throws(FileSystemError) -> [Cluster] {
    let bytes = try disk.bytes(at: pack.start, count: pack.count * Int(pack.bytesPerEntry))
    let valueBits = max(Int(clusterBits), 12)
    let isBig = advice & Advice.big0 != 0
    // Without big clusters the number is that of the block before the first head's.
    var block = bytes.u32(bytes.count - 4) &+ (isBig ? 0 : 1)
    var clusters: [Cluster] = []
    for index in 0..<pack.count {
      let bit = pack.entryBits * index
      let word = bytes.u32(bit / 8) >> UInt64(bit % 8)
      let value = word & (1 << UInt64(valueBits) - 1)
      let type = word >> UInt64(valueBits) & 3
      if type == 2 {
        let isCount = value & UInt64(Self.countFlag) != 0
        let count = value & ~UInt64(Self.countFlag)
        clusters.append(.following(storedBlocks: isCount ? count : nil))
        // The head's own block is counted when the pack has the head.
        if isCount, isBig { block &+= index > 0 ? count &- 1 : count }
        continue
      }
      clusters.append(
        type == 0
          ? .plain(block: block, offset: value) : .compressed(head: type == 1 ? 0 : 1, block: block, offset: value))
      block &+= 1
    }
    return clusters
  }
}
