/// The index file of a log-structured writable layer: a header, then entries in the order in which they were written.
/// Later entries win.
public struct IndexLog: Equatable, Sendable {
  /// The most entries that readers accept.
  public static let maxEntries: UInt64 = 128_000_000

  /// The header of the index file.
  public let header: LayerRecord
  /// The entries in file order, without padding, their tags as stored (a stacked layer's are the number of layers below).
  public let entries: [Segment]
  /// Padding entries, which group commit leaves behind.
  public let paddingCount: Int
  /// Bytes of an incomplete last entry, 0...15: the rest of an append that a crash cut short. They count for nothing.
  public let tornBytes: Int

  /// The first entry, of ``entries``, whose data would lie outside `dataSize` bytes of data file; nil when there is none.
  /// Readers refuse a layer that has one: its index got ahead of its data in a crash.
  public func firstEntry(outsideDataOf dataSize: UInt64) -> Int? {
    let dataEnd = dataSize / UInt64(sectorSize)
    return entries.firstIndex { $0.moffset < LayerWriter.firstDataSector || $0.moffsetEnd > dataEnd }
  }

  /// What the log says in the end: sorted, disjoint segments, tags 0.
  public func replayed() -> [Segment] { Self.replayed(entries) }

  /// What is left of the log with only `dataSize` bytes of data file: entries lose what is not there, and how many did.
  /// A zeroed entry needs no data.
  public func replayed(within dataSize: UInt64) -> (segments: [Segment], cut: Int) {
    if firstEntry(outsideDataOf: dataSize) == nil { return (replayed(), 0) }
    let dataEnd = dataSize / UInt64(sectorSize)
    var cut = 0
    var kept: [Segment] = []
    for entry in entries {
      let isThere = entry.moffset >= LayerWriter.firstDataSector && entry.moffsetEnd <= dataEnd
      if entry.isZeroed || isThere {
        kept.append(entry)
        continue
      }
      cut += 1
      if entry.moffset >= LayerWriter.firstDataSector, entry.moffset < dataEnd {
        kept.append(entry.trimmed(from: entry.offset, to: entry.offset + (dataEnd - entry.moffset)))
      }
    }
    return (Self.replayed(kept), cut)
  }

  private static func replayed(_ entries: [Segment]) -> [Segment] {
    // The log falls into ascending runs, each of them newer than all before it: a stack of tiny layers.
    var runs: [[Segment]] = []
    for entry in entries where entry.length > 0 {
      if let last = runs.last?.last, last.end <= entry.offset {
        runs[runs.count - 1].append(entry.tagged(0))
      } else {
        runs.append([entry.tagged(0)])
      }
    }
    return mergedStack(&runs)
  }
}

/// Decodes the whole index file of a log-structured writable layer.
///
/// The header must be that of an unsealed index file whose entries begin at byte 4096, and there may be no more than
/// ``IndexLog/maxEntries`` entries. An incomplete last entry is reported, not refused: a crash leaves one. Whether
/// the data is there tells ``IndexLog/firstEntry(outsideDataOf:)``.
public func decodeIndexLog(_ bytes: RawSpan) throws(LSMTError) -> IndexLog {
  let header = try LayerRecord(parsing: bytes, as: .header)
  guard !header.isDataFile else { throw .notIndexFile(flags: header.flags) }
  guard !header.isSealed else { throw .sealedIndexFile(flags: header.flags) }
  guard header.indexOffset == UInt64(LayerRecord.size) else {
    throw .indexLogOffset(found: header.indexOffset)
  }
  let logBytes = bytes.byteCount - LayerRecord.size
  let count = logBytes / Segment.size
  guard count <= IndexLog.maxEntries else {
    throw .tooManyEntries(count: UInt64(count), limit: IndexLog.maxEntries)
  }
  var entries: [Segment] = []
  entries.reserveCapacity(count)
  for entry in 0..<count {
    let segment = bytes.segment(at: LayerRecord.size + entry * Segment.size)
    if !segment.isPadding { entries.append(segment) }
  }
  return IndexLog(
    header: header, entries: entries, paddingCount: count - entries.count, tornBytes: logBytes % Segment.size)
}
