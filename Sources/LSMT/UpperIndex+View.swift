import Synchronization

extension UpperIndex {
  /// HOT: lookups in an ``UpperIndex``. A few pointers to copy around, without reference counting; valid while the index
  /// lives.
  @frozen
  public struct View: BitwiseCopyable, @unchecked Sendable {
    @usableFromInline let table: UnsafeMutablePointer<UpperRegion>
    @usableFromInline let sectors: UnsafeMutablePointer<Atomic<UInt64>>
    @usableFromInline let regionShift: UInt64

    init(
      table: UnsafeMutablePointer<UpperRegion>, sectors: UnsafeMutablePointer<Atomic<UInt64>>, regionShift: UInt64
    ) {
      self.table = table
      self.sectors = sectors
      self.regionShift = regionShift
    }

    /// Sectors of the device now: it can grow.
    @inlinable public var deviceSectors: UInt64 {
      @inline(__always) get { sectors.pointee.load(ordering: .acquiring) }
    }

    /// The piece that `sector` is in, from there on: at most `limit` sectors, which must be at least 1. It ends with the
    /// region that it is in, so the next one may go on where it ends; only what is not mapped goes on over regions
    /// that were never written to. Beyond the device nothing is mapped.
    ///
    /// It waits for a writer for no longer than one change of the region takes.
    @inlinable
    @inline(__always)
    public func piece(at sector: UInt64, limit: UInt64) -> UpperPiece {
      assert(limit > 0)
      if sector >= sectors.pointee.load(ordering: .acquiring) {
        return UpperPiece(kind: .unmapped, sectors: limit, blobSector: 0)
      }
      let number = sector &>> regionShift
      let region = table + Int(truncatingIfNeeded: number)
      if region.pointee.state.load(ordering: .relaxed) == 0 { return unmappedPiece(at: sector, limit: limit) }
      let offset = sector &- number &<< regionShift
      let state = region.pointee.lock()
      let value: UpperValue
      var length = (1 &<< regionShift) &- offset
      if state.capacity == 0 {
        value = UpperValue(rawValue: region.pointee.content)
        region.pointee.unlock(state)
      } else {
        let block = UpperBlock(address: region.pointee.content, capacity: state.capacity)
        let index = block.index(of: UInt32(truncatingIfNeeded: offset), count: state.count)
        value = block.values[index]
        let end = UInt64(block.starts[index &+ 1])
        region.pointee.unlock(state)
        length = end &- offset
      }
      if length >= limit { return value.piece(at: sector, sectors: limit) }
      if !value.isMapped, (offset &+ length) &>> regionShift != 0 { return unmappedPiece(at: sector, limit: limit) }
      return value.piece(at: sector, sectors: length)
    }

    /// What is not mapped from `sector` to the end of its region, and on over regions that were never written to.
    @usableFromInline
    @inline(never)
    func unmappedPiece(at sector: UInt64, limit: UInt64) -> UpperPiece {
      let device = sectors.pointee.load(ordering: .acquiring)
      let (wanted, isBeyond) = sector.addingReportingOverflow(limit)
      let end = isBeyond ? device : min(wanted, device)
      var number = sector &>> regionShift &+ 1
      while number &<< regionShift < end, table[Int(number)].state.load(ordering: .relaxed) == 0 { number &+= 1 }
      let reached = number &<< regionShift
      // From the end of the device on nothing is mapped either.
      if reached >= device { return UpperPiece(kind: .unmapped, sectors: limit, blobSector: 0) }
      return UpperPiece(kind: .unmapped, sectors: min(limit, reached &- sector), blobSector: 0)
    }
  }
}
