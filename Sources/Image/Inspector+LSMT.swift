import BlobStore
import LSMT

extension Inspector {
  /// `prefix` begins with LSMT's magic: a layer, or a part of a writable one.
  mutating func inspectLSMT(_ prefix: [UInt8], _ container: borrowing Container) throws(ImageError) {
    let path = container.blob.path
    let header: LayerRecord
    do throws(LSMTError) { header = try LayerRecord(parsing: prefix.span.bytes, as: .header) } catch {
      throw .layer(path: path, error)
    }
    result.header = .init(header)
    if !header.isDataFile {
      result.kind = .upperIndex
      try inspectIndexLog(container)
    } else if try isWritable(header, container) {
      result.kind = header.isSparse ? .sparseUpper : .upperData
      result.notes.append("a writable layer: `warmblk seal` or `warmblk commit` make a layer of it that can be a lower")
      try inspectUpper(header, container.blob)
    } else {
      result.kind = header.isSealed ? .committedLayer : .sealedLayer
      try inspectSealed(try Container.open(container.blob))
    }
  }

  /// A data file whose header does not say "sealed" is a sealed layer only if it ends with a trailer of its own. Compressed
  /// or in a tar, nobody writes it.
  private func isWritable(_ header: LayerRecord, _ container: borrowing Container) throws(ImageError) -> Bool {
    if container.zfile != nil || container.blob.isTarWrapped { return false }
    return try !OpenUpper.isSealed(container.blob, header)
  }

  private mutating func inspectSealed(_ container: consuming Container) throws(ImageError) {
    let opened = try Layer.open(container)
    let record = opened.layer.record
    result.trailer = .init(record)
    var index = Inspection.Index(opened.segments, virtualSize: record.virtualSize)
    index.padding = Int(record.indexCount) - opened.segments.count
    result.index = index
    if record.uuid.isNull { result.notes.append("the layer has no uuid") }
    if let header = result.header, header.uuid != record.uuid.description {
      add(
        file: result.path, expected: header.uuid, found: record.uuid.description,
        message: "\(result.path): the trailer's uuid \(record.uuid) is not the header's \(header.uuid)")
    }
    // Zeroes there are what a disk that was made smaller leaves.
    if let last = opened.segments.last(where: { !$0.isZeroed }), last.end > record.virtualSize.sectorsRoundedUp,
      record.virtualSize > 0
    {
      add(
        file: result.path, expected: "at most sector \(record.virtualSize.sectorsRoundedUp)",
        found: "sector \(last.end)",
        message: "\(result.path): the index maps up to sector \(last.end), beyond the device's end at sector "
          + "\(record.virtualSize.sectorsRoundedUp)")
    }
  }

  private mutating func inspectIndexLog(_ container: borrowing Container) throws(ImageError) {
    let path = container.blob.path
    guard container.size <= OpenUpper.indexLimit else {
      throw .refused(
        "\(path): an index of \(container.size) bytes; no reader accepts more than \(OpenUpper.indexLimit)")
    }
    let bytes = try container.reader().bytes(at: 0, count: Int(container.size))
    do throws(LSMTError) {
      let log = try decodeIndexLog(bytes.span.bytes)
      var index = Inspection.Index(log.replayed(), virtualSize: log.header.virtualSize)
      index.padding = log.paddingCount
      result.index = index
      result.notes.append("\(log.entries.count) entries in the order of writing")
      if log.tornBytes > 0 {
        result.notes.append(
          "the last \(log.tornBytes) bytes are half an entry that a crash left; they count for nothing")
      }
    } catch {
      throw .layer(path: path, error)
    }
  }
}

extension UInt64 {
  /// Sectors that so many bytes take.
  fileprivate var sectorsRoundedUp: UInt64 {
    self / UInt64(sectorSize) + (self % UInt64(sectorSize) == 0 ? 0 : 1)
  }
}

extension Inspection.Record {
  init(_ record: LayerRecord) {
    flags = record.flags
    indexOffset = record.indexOffset
    indexCount = record.indexCount
    virtualSize = record.virtualSize
    uuid = record.uuid.description
    parentUUID = record.parentUUID.description
    version = "\(record.version).\(record.subVersion)"
    message = String(decoding: record.userTag, as: UTF8.self)
  }
}

extension Inspection.Index {
  /// Sorted, disjoint `segments` of a device of `virtualSize` bytes.
  init(_ segments: [Segment], virtualSize: UInt64) {
    let sector = UInt64(sectorSize)
    self.segments = segments.count
    var end: UInt64 = 0
    var mapped: UInt64 = 0
    for segment in segments {
      let bytes = UInt64(segment.length) * sector
      if segment.offset > end { holes += 1 }
      if segment.isZeroed { zeroedBytes += bytes } else { dataBytes += bytes }
      longestBytes = max(longestBytes, bytes)
      mapped += bytes
      end = segment.end
    }
    if end * sector < virtualSize { holes += 1 }
    unmappedBytes = virtualSize > mapped ? virtualSize - mapped : 0
  }
}
