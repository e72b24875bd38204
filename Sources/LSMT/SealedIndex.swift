/// How to open a sealed or committed layer: where its index lies, and what the index must be like.
///
/// The steps are pure. The caller reads the last ``LayerRecord/size`` bytes of the layer, then ``byteCount`` bytes at
/// ``byteOffset``, and gets the segments from ``decode(_:)``.
public struct SealedIndex: Equatable, Sendable {
  /// The most entries, padding counted, that readers of sealed layers accept (overlaybd since 2026-08).
  public static let maxEntries: UInt64 = 1_000_000

  /// Where the index begins, bytes in the blob space of the layer.
  public let byteOffset: UInt64
  /// Entries of the index, padding counted.
  public let entryCount: Int

  /// Bytes of the index. Up to the trailer there may be filler after them, which means nothing.
  public var byteCount: Int { entryCount * Segment.size }

  /// The sector after the last one that a mapping may refer to.
  private var dataEnd: UInt64 { byteOffset / UInt64(sectorSize) }

  /// Finds the index of a layer of `layerSize` bytes (unwrapped, decompressed) from its trailer.
  ///
  /// Refused are trailers of anything but a sealed data file, an index that does not lie between header and trailer,
  /// and more than ``maxEntries`` entries.
  public init(trailer: LayerRecord, layerSize: UInt64) throws(LSMTError) {
    let recordSize = UInt64(LayerRecord.size)
    guard !trailer.isHeader else { throw .wrongRole(expected: .trailer, flags: trailer.flags) }
    guard trailer.isDataFile else { throw .notDataFile(flags: trailer.flags) }
    guard trailer.isSealed else { throw .notSealed(flags: trailer.flags) }
    guard layerSize >= 2 * recordSize else { throw .layerTooSmall(size: layerSize) }
    let trailerOffset = layerSize - recordSize
    guard trailer.indexOffset >= recordSize, trailer.indexOffset <= trailerOffset else {
      throw .indexOffset(found: trailer.indexOffset, limit: trailerOffset)
    }
    guard trailer.indexCount <= Self.maxEntries else {
      throw .tooManyEntries(count: trailer.indexCount, limit: Self.maxEntries)
    }
    guard trailer.indexCount * UInt64(Segment.size) <= trailerOffset - trailer.indexOffset else {
      throw .indexTooLong(offset: trailer.indexOffset, count: trailer.indexCount, limit: trailerOffset)
    }
    byteOffset = trailer.indexOffset
    entryCount = Int(trailer.indexCount)
  }

  /// The segments of the index in `bytes`, which are the ``byteCount`` bytes at ``byteOffset``: sorted, disjoint, their
  /// data between header and index, their tags 0 (layers made by merging store numbers there that mean nothing here).
  /// Padding entries, and entries that map nothing, are left out.
  public func decode(_ bytes: RawSpan) throws(LSMTError) -> [Segment] {
    guard bytes.byteCount >= byteCount else {
      throw .indexTruncated(expected: byteCount, found: bytes.byteCount)
    }
    var segments: [Segment] = []
    segments.reserveCapacity(entryCount)
    var previousEnd: UInt64 = 0
    for entry in 0..<entryCount {
      let segment = bytes.segment(at: entry * Segment.size).tagged(0)
      if segment.isPadding { continue }
      guard segment.offset >= previousEnd else {
        throw .unsortedIndex(
          entry: entry, byteOffset: position(of: entry), sector: segment.offset, previousEnd: previousEnd)
      }
      guard segment.moffset >= LayerWriter.firstDataSector, segment.moffsetEnd <= dataEnd else {
        throw .mappingOutsideData(
          entry: entry, byteOffset: position(of: entry), start: segment.moffset, end: segment.moffsetEnd,
          limit: dataEnd)
      }
      previousEnd = segment.end
      if segment.length > 0 { segments.append(segment) }
    }
    return segments
  }

  private func position(of entry: Int) -> UInt64 { byteOffset + UInt64(entry * Segment.size) }
}
