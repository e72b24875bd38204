import LSMT

/// Which pages (4096 bytes) of a data file something maps: a bit each, 32 MiB for a file of 1 TiB.
struct PageMap: ~Copyable {
  static let pageBytes: UInt64 = 4096
  private static let sectorsPerPage = pageBytes / UInt64(sectorSize)

  /// Pages; what is behind them is not looked at.
  let count: UInt64
  private let words: UnsafeMutableBufferPointer<UInt64>

  /// Whole pages of `byteCount` bytes, none of them mapped but the first, where the header is.
  init(byteCount: UInt64) {
    count = byteCount / Self.pageBytes
    words = .allocate(capacity: Int(count / 64) + 1)
    words.initialize(repeating: 0)
    words[0] = 1
  }

  deinit { words.deallocate() }

  /// Notes that something maps `sectors` sectors from `blobSector` on.
  func insert(_ blobSector: UInt64, _ sectors: UInt64) {
    var page = blobSector / Self.sectorsPerPage
    let end = min(count, (blobSector + sectors + Self.sectorsPerPage - 1) / Self.sectorsPerPage)
    while page < end {
      let first = page % 64
      let length = min(64 - first, end - page)
      words[Int(page / 64)] |= (length == 64 ? .max : (1 << length) - 1) << first
      page += length
    }
  }

  /// Pages that nothing maps.
  var freeCount: UInt64 {
    let mapped = words.reduce(into: UInt64(0)) { $0 += UInt64($1.nonzeroBitCount) }
    return count > mapped ? count - mapped : 0
  }

  /// The first run of pages, from `page` on, that nothing maps.
  func nextFree(from page: UInt64) -> Range<UInt64>? {
    guard let start = next(from: page, isMapped: false) else { return nil }
    return start..<(next(from: start, isMapped: true) ?? count)
  }

  private func next(from page: UInt64, isMapped: Bool) -> UInt64? {
    var page = page
    while page < count {
      let word = words[Int(page / 64)]
      let wanted = (isMapped ? word : ~word) >> (page % 64)
      if wanted != 0 {
        let found = page + UInt64(wanted.trailingZeroBitCount)
        return found < count ? found : nil
      }
      page = (page / 64 + 1) * 64
    }
    return nil
  }
}
