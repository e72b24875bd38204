/// Builds a committed layer as a stream that is only ever appended to, so that it can go through a compressor.
///
/// The stream is: ``header()``, then for each call of ``data(atSector:sectors:)`` the bytes of these sectors, then what
/// ``finish()`` returns. Calls come in ascending order of sectors.
public struct LayerWriter: Sendable {
  /// Blob sector of the first data: right after the header.
  public static let firstDataSector = UInt64(LayerRecord.size / sectorSize)
  /// The index is padded to a multiple of so many entries, 4096 bytes.
  static let entriesPerBlock = LayerRecord.size / Segment.size

  private let record: LayerRecord
  private let limit: UInt64
  private var segments: [Segment] = []
  private var overflow: UInt64 = 0
  private var previousEnd: UInt64 = 0
  private var nextBlobSector = Self.firstDataSector

  /// A layer of a device of `virtualSize` bytes. `userTag` is cut at ``LayerRecord/userTagCapacity`` bytes. With
  /// `allowsManyEntries` it may have more than today's readers accept, which older ones of overlaybd do.
  public init(
    virtualSize: UInt64, uuid: LayerUUID, parentUUID: LayerUUID = .null, userTag: [UInt8] = [],
    allowsManyEntries: Bool = false
  ) {
    limit = allowsManyEntries ? IndexLog.maxEntries : SealedIndex.maxEntries
    record = LayerRecord(
      flags: LayerRecord.Flag.dataFile | LayerRecord.Flag.sealed, virtualSize: virtualSize, uuid: uuid,
      parentUUID: parentUUID, userTag: userTag)
  }

  /// The first 4096 bytes of the layer.
  public func header() -> [UInt8] {
    var header = record
    header.flags |= LayerRecord.Flag.header
    return header.encoded()
  }

  /// Says that the next `sectors` * 512 bytes of the stream are device sectors from `sector`. Traps when `sector` lies
  /// before the end of the previous call.
  public mutating func data(atSector sector: UInt64, sectors: UInt64) {
    append(sector, sectors, isZeroed: false)
    nextBlobSector += sectors
  }

  /// Says that device sectors read as zeroes, whatever lower layers have there; nothing is stored for them. Traps
  /// when `sector` lies before the end of the previous call.
  public mutating func zeroes(atSector sector: UInt64, sectors: UInt64) {
    append(sector, sectors, isZeroed: true)
  }

  /// Index entries so far, without padding.
  public var entryCount: UInt64 { UInt64(segments.count) + overflow }

  /// Bytes of the stream so far, the header counted.
  public var byteCount: UInt64 { nextBlobSector * UInt64(sectorSize) }

  /// Whether ``finish()`` would refuse the layer for having too many entries, so that a caller can stop early.
  public var isFull: Bool { Self.paddedCount(entryCount) > limit }

  /// The rest of the layer: its index, padded to 4096 bytes, and its trailer.
  ///
  /// Refused are layers of more than ``SealedIndex/maxEntries`` entries, padding counted, unless they are allowed: no
  /// reader would open them.
  public mutating func finish() throws(LSMTError) -> [UInt8] {
    let count = Self.paddedCount(entryCount)
    guard count <= limit else { throw .tooManyEntries(count: count, limit: limit) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(count) * Segment.size + LayerRecord.size)
    for segment in segments { bytes.append(contentsOf: segment.encoded) }
    for _ in segments.count..<Int(count) { bytes.append(contentsOf: Segment.padding.encoded) }
    var trailer = record
    trailer.indexOffset = byteCount
    trailer.indexCount = count
    bytes.append(contentsOf: trailer.encoded())
    return bytes
  }

  private static func paddedCount(_ count: UInt64) -> UInt64 {
    let block = UInt64(entriesPerBlock)
    return (count + block - 1) / block * block
  }

  private mutating func append(_ sector: UInt64, _ sectors: UInt64, isZeroed: Bool) {
    precondition(sector >= previousEnd, "a layer is written in ascending order of sectors")
    precondition(
      sectors <= Segment.maxOffset && sector <= Segment.maxOffset - sectors, "beyond what an index can name")
    previousEnd = sector + sectors
    var offset = sector
    var moffset = nextBlobSector
    while offset < previousEnd {
      let length = min(previousEnd - offset, Segment.maxLength)
      append(Segment(offset: offset, length: UInt32(length), moffset: moffset, isZeroed: isZeroed))
      offset += length
      if !isZeroed { moffset += length }
    }
  }

  private mutating func append(_ segment: Segment) {
    // A merged entry stays below the maximum, as in layers that overlaybd commits.
    if let last = segments.last, last.isZeroed == segment.isZeroed, last.end == segment.offset,
      last.moffsetEnd == segment.moffset, UInt64(last.length + segment.length) < Segment.maxLength
    {
      segments[segments.count - 1] = Segment(
        offset: last.offset, length: last.length + segment.length, moffset: last.moffset,
        isZeroed: last.isZeroed)
    } else if segments.count < limit {
      segments.append(segment)
    } else {
      overflow += 1
    }
  }
}

extension Segment {
  /// The 16 bytes on disk.
  public var encoded: [UInt8] {
    [word0, word1].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
  }
}
