/// The index of a compressed file: for each cluster (a block of content) what begins in it and where that is stored
/// (Linux, `fs/erofs/zmap.c`).
struct ErofsIndex {
  /// A cluster of content.
  enum Cluster: Equatable {
    /// A physical cluster's content begins here, `offset` bytes into the cluster; it is stored at `block`. One that is
    /// not compressed has its own kind. `head` is 0, or 1 for the second of two compressions.
    case compressed(head: Int, block: UInt64, offset: UInt64)
    case plain(block: UInt64, offset: UInt64)
    /// Goes on with what began before. The first of these says how many blocks are stored, if there may be several.
    case following(storedBlocks: UInt64?)
  }

  /// Bits of `h_advise`.
  enum Advice {
    static let packed2: Int = 0x1
    static let big0: Int = 0x2
    static let big1: Int = 0x4
    static let inlineTail: Int = 0x8
    static let interlaced: Int = 0x10
    static let fragment: Int = 0x20
  }

  let inode: UInt64
  /// Of content; in the full index also of entries.
  let clusters: UInt64
  let advice: Int
  /// Bytes of the last physical cluster, where it follows the index.
  let tailSize: UInt64
  /// Where the entries begin, in bytes.
  let start: UInt64
  let isCompact: Bool
  let clusterBits: UInt64

  /// Reads the header of 8 bytes that follows the inode.
  init(_ system: Erofs, _ node: Node) throws(FileSystemError) {
    let header = try system.end(of: node).dividedUp(by: 8) * 8
    let record = try system.disk.bytes(at: header, count: 8)
    let layout = try system.layout(of: node)
    if record[7] & 0x80 != 0 { throw .unsupportedFile("its content is a fragment of the packed inode") }
    advice = record.u16(4)
    if advice & Advice.fragment != 0 { throw .unsupportedFile("its end is a fragment of the packed inode") }
    let known = Advice.packed2 | Advice.big0 | Advice.big1 | Advice.inlineTail | Advice.interlaced
    guard advice & ~known == 0, record[7] & 0x7F == 0 else {
      throw .unsupportedFile(
        "it is compressed in a way that is not read here (advice 0x\(String(advice, radix: 16)), clusters \(record[7]))"
      )
    }
    inode = node.number
    clusterBits = system.layout.blockBits
    clusters = node.size.dividedUp(by: system.blockSize)
    tailSize = advice & Advice.inlineTail != 0 ? UInt64(record.u16(2)) : 0
    isCompact = layout == .compactIndex
    if isCompact, clusterBits > 14 || (clusterBits > 12 && advice & Advice.packed2 != 0) {
      throw .unsupportedFile("it has a packed index for blocks of \(system.blockSize) bytes")
    }
    // The full index has eight more bytes that mean nothing.
    start = header + (isCompact ? 8 : 16)
    guard start <= system.disk.size, clusters <= (system.disk.size - start) / (isCompact ? 2 : 8) else {
      throw .damaged(.inode(node.number), "has \(node.size) bytes, and no room for their index")
    }
  }

  /// Whether a physical cluster that begins so may be longer than a block.
  func mayBeBig(_ cluster: Cluster) -> Bool {
    switch cluster {
    case .compressed(let head, _, _): advice & (head == 0 ? Advice.big0 : Advice.big1) != 0
    case .plain: advice & Advice.big1 != 0
    case .following: false
    }
  }

  /// Where the index ends, in bytes: there the tail is.
  var end: UInt64 { isCompact ? pack(of: clusters - 1).end : start + clusters * 8 }

  func damaged(_ problem: String) -> FileSystemError { .damaged(.inode(inode), "has an index that \(problem)") }

  // MARK: The full index

  /// One of 8 bytes: type, offset of the beginning, and a block or two distances.
  func fullCluster(_ number: UInt64, _ disk: Disk) throws(FileSystemError) -> Cluster {
    let entry = try disk.bytes(at: start + number * 8, count: 8)
    let offset = UInt64(entry.u16(2))
    switch entry.u16(0) & 3 {
    case 0: return .plain(block: entry.u32(4), offset: offset)
    case 1: return .compressed(head: 0, block: entry.u32(4), offset: offset)
    case 3: return .compressed(head: 1, block: entry.u32(4), offset: offset)
    default:
      let distance = entry.u16(4)
      return .following(storedBlocks: distance & Self.countFlag != 0 ? UInt64(distance & ~Self.countFlag) : nil)
    }
  }

  /// Marks a distance that is a number of blocks instead.
  static let countFlag = 1 << 11
}
