import Glibc
import LSMT
import Posix

extension SparseUpper {
  private static var zeroBytes: Int { 1 << 20 }

  /// See ``Upper/zero(sector:sectors:keepsSpace:)``. Zeroes over the layers below are stored as such: a hole would show
  /// those again. Only whole blocks with nothing below become holes.
  func zero(sector: UInt64, sectors: UInt64, keepsSpace: Bool) throws(Errno) {
    let device = deviceSectors
    guard sectors <= device, sector <= device - sectors else { throw .invalidArgument }
    if sectors == 0 { return }
    try entering { () throws(Errno) in
      let end = sector + sectors
      let first = (sector + Self.blockSectors - 1) / Self.blockSectors * Self.blockSectors
      let last = end / Self.blockSectors * Self.blockSectors
      if keepsSpace { return try store(sector..<end) }
      if first >= last { return try clear(sector..<end) }
      try clear(sector..<first)
      try empty(first..<last)
      try clear(last..<end)
    }
  }

  /// Makes whole blocks holes where nothing is below, and zeroes elsewhere.
  private func empty(_ sectors: Range<UInt64>) throws(Errno) {
    var next = sectors.lowerBound
    while next < sectors.upperBound {
      let below = lowers?.stored(next..<sectors.upperBound)
      let first = below.map { $0.lowerBound / Self.blockSectors * Self.blockSectors } ?? sectors.upperBound
      if next < first { try punch(next..<first) }
      guard let below else { return }
      let end = (below.upperBound + Self.blockSectors - 1) / Self.blockSectors * Self.blockSectors
      next = min(end, sectors.upperBound)
      try store(first..<next)
    }
  }

  /// Makes parts of blocks zeroes.
  private func clear(_ sectors: Range<UInt64>) throws(Errno) {
    if isUntouched(sectors), lowers?.stored(sectors) == nil { return }
    try store(sectors)
  }

  /// Whether nothing of some sectors is mapped.
  private func isUntouched(_ sectors: Range<UInt64>) -> Bool {
    var next = sectors.lowerBound
    while next < sectors.upperBound {
      let piece = index.view.piece(at: next, limit: sectors.upperBound - next)
      if piece.kind != .unmapped { return false }
      next += piece.sectors
    }
    return true
  }

  private func punch(_ sectors: Range<UInt64>) throws(Errno) {
    // Often: a file system is made on a disk that nothing was written to.
    if isUntouched(sectors) { return }
    let size = UInt64(sectorSize)
    do throws(Errno) {
      try disk.punchData(
        at: UInt64(LayerRecord.size) + sectors.lowerBound * size,
        count: (sectors.upperBound - sectors.lowerBound) * size)
    } catch {
      guard error == .notSupported else { throw error }
      try store(sectors)
    }
  }

  /// Writes zeroes.
  func store(_ sectors: Range<UInt64>) throws(Errno) {
    if sectors.isEmpty { return }
    let count = min(UInt64(Self.zeroBytes), (sectors.upperBound - sectors.lowerBound) * UInt64(sectorSize))
    guard let zeroes = calloc(1, Int(count)) else { throw Errno(rawValue: ENOMEM) }
    defer { free(zeroes) }
    var next = sectors.lowerBound
    while next < sectors.upperBound {
      // In steps that end with blocks.
      let stop = min(
        sectors.upperBound,
        (next + UInt64(Self.zeroBytes / sectorSize)) / Self.blockSectors * Self.blockSectors)
      try write(next, UnsafeRawBufferPointer(start: zeroes, count: Int(stop - next) * sectorSize))
      next = stop
    }
  }
}
