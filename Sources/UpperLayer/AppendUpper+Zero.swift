import LSMT
import Posix

extension AppendUpper {
  /// See ``Upper/zero(sector:sectors:keepsSpace:)``.
  func zero(sector: UInt64, sectors: UInt64, keepsSpace: Bool) throws(Errno) {
    let device = deviceSectors
    guard sectors <= device, sector <= device - sectors else { throw .invalidArgument }
    try makeZeroes(sector: sector, sectors: sectors, keepsSpace: keepsSpace)
  }

  /// ``zero(sector:sectors:keepsSpace:)``, also of sectors that the device is about to have.
  func makeZeroes(sector: UInt64, sectors: UInt64, keepsSpace: Bool) throws(Errno) {
    // 512 MiB at a time: writers wait for no longer than that takes.
    let step = Segment.maxLength * UInt64(Self.piecesMax)
    var next = sector
    let end = sector + sectors
    while next < end {
      let count = min(end - next, step)
      var freed: [Range<UInt64>] = []
      try lockWithRoom(for: UInt64(Self.piecesMax))
      put(next, count, nil) { blobSector, sectors in
        if let last = freed.last, last.upperBound == blobSector {
          freed[freed.count - 1] = last.lowerBound..<blobSector + sectors
        } else {
          freed.append(blobSector..<blobSector + sectors)
        }
      }
      commit.unlock()
      if !keepsSpace { for range in freed { punch(range) } }
      next += count
    }
  }

  /// Gives whole blocks of the host's file system back. Nothing maps the sectors any more, and nothing will.
  ///
  /// A power loss before the next flush may bring the entry back that mapped them, with zeroes behind it: a sector is its
  /// old self or zeroes then, as it may be.
  private func punch(_ sectors: Range<UInt64>) {
    let sector = UInt64(sectorSize)
    let start = (sectors.lowerBound * sector + Self.pageBytes - 1) / Self.pageBytes * Self.pageBytes
    let end = sectors.upperBound * sector / Self.pageBytes * Self.pageBytes
    // Where the file system cannot, only space is lost.
    if start < end { try? disk.punchData(at: start, count: end - start) }
  }
}
