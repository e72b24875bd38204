import Glibc
import Synchronization

/// The index of a writable layer, in memory: for every sector of the device whether the layer has it, and where.
///
/// The device is cut into regions of 2048 sectors, more of them where it has more than 64 TiB. A region has its pieces in
/// one small sorted array, so a write costs the same however many there are, and a lock bit, which is held for one look-up
/// or one change. There is one writer at a time, which the caller sees to; readers come at any time, through ``view``. A
/// write that lies in several regions appears in one after the other.
///
/// <doc:WritableIndex> says why.
public final class UpperIndex: @unchecked Sendable {
  /// Regions that a table may have.
  static let regionsMax: UInt64 = 1 << 26
  /// 2048 sectors: 1 MiB.
  static let regionShiftMin: UInt64 = 11

  /// Address space for the largest table, of which only what the device needs may be touched, and only what is touched
  /// takes memory.
  let table: UpperTable

  // Written by the writer only; anybody may read them.
  private let pieces = Atomic<Int>(0)
  private let mappedData = Atomic<UInt64>(0)
  private let blockBytes = Atomic<Int>(0)

  /// An index that maps nothing of a device of `deviceSectors` sectors.
  ///
  /// Throws ``LSMTError/virtualSizeTooLarge(bytes:limit:)`` and ``LSMTError/noMemory(bytes:errno:)``.
  public init(deviceSectors: UInt64) throws(LSMTError) {
    guard deviceSectors <= Segment.maxOffset else {
      let (bytes, overflow) = deviceSectors.multipliedReportingOverflow(by: UInt64(sectorSize))
      throw .virtualSizeTooLarge(bytes: overflow ? .max : bytes, limit: SegmentMap.maxVirtualSize)
    }
    var shift = Self.regionShiftMin
    while deviceSectors > Self.regionsMax << shift { shift += 1 }
    table = try UpperTable(regionShift: shift, deviceSectors: deviceSectors)
  }

  deinit {
    table.forEachTouchedRegion { _, region in
      let state = region.pointee.peek
      if state.capacity > 0 { UpperBlock(address: region.pointee.content, capacity: state.capacity).deallocate() }
    }
    table.deallocate()
  }

  /// Sectors of the device.
  public var deviceSectors: UInt64 { table.deviceSectors }

  /// The most sectors that the device can grow to: 64 TiB, or up to twice what a larger one began with.
  public var deviceSectorsMax: UInt64 { min(Self.regionsMax << table.regionShift, Segment.maxOffset) }

  /// Makes the device larger while it is used; what is added is not mapped. A smaller size changes nothing. The table stays
  /// where it is: its address space was reserved from the start. One writer at a time, as for
  /// ``insert(_:freed:)``; views that were handed out see the new size.
  ///
  /// Throws ``LSMTError/indexCannotGrow(sectors:limit:)`` beyond ``deviceSectorsMax``, and
  /// ``LSMTError/noMemory(bytes:errno:)``; then nothing has changed.
  public func grow(to deviceSectors: UInt64) throws(LSMTError) {
    guard deviceSectors <= deviceSectorsMax else {
      throw .indexCannotGrow(sectors: deviceSectors, limit: deviceSectorsMax)
    }
    if deviceSectors > self.deviceSectors { try table.grow(to: deviceSectors) }
  }

  /// Pieces that are mapped, as they are held in memory: none crosses the end of a region. ``segments()`` joins them.
  public var segmentCount: Int { pieces.load(ordering: .relaxed) }
  /// Sectors that are in the data file.
  public var dataSectors: UInt64 { mappedData.load(ordering: .relaxed) }
  /// Bytes of memory that the index holds.
  public var byteCount: Int { blockBytes.load(ordering: .relaxed) + table.byteCount }

  /// For lookups. Valid as long as the index lives: whoever keeps a view keeps its index.
  public var view: View { View(table: table.regions, sectors: table.sectors, regionShift: table.regionShift) }

  func count(pieces change: Int) { pieces.store(segmentCount &+ change, ordering: .relaxed) }
  func count(data change: UInt64) { mappedData.store(dataSectors &+ change, ordering: .relaxed) }
  func count(bytes change: Int) {
    blockBytes.store(blockBytes.load(ordering: .relaxed) &+ change, ordering: .relaxed)
  }
}
