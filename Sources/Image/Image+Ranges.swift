import LSMT
import Trace

/// A part of an image that is in one place: one extent, and of a compressed layer one block.
public struct RangePiece: Equatable, Sendable {
  /// Bytes of the disk; empty for what no part of the disk shows: headers, an index, data that a higher layer hides.
  public let device: Range<UInt64>
  /// Index into ``Image/layers``.
  public let layer: Int
  /// Bytes of the layer's blob space, that is without tar and compression.
  public let blob: Range<UInt64>
  /// Bytes of the layer's file as stored: what a registry's ranged GET names. Of a compressed layer the whole block that
  /// `blob` is a part of.
  public let stored: Range<UInt64>

  /// What a trace says of it.
  public func access(at microseconds: UInt64, runs: UInt32 = 1) -> TraceAccess {
    TraceAccess(microseconds: microseconds, device: device, layer: layer, stored: stored, runs: runs)
  }
}

/// Where ranges of the disk are stored. Nothing is read for it: indexes and jump tables are in memory.
extension Image {
  /// The layers as a trace names them, bottom first.
  public var traceLayers: [TraceLayer] {
    layers.enumerated().map { number, layer in
      // An upper is none of the lowers.
      let digest = number < config.lowers.count ? config.lowers[number].digest : nil
      return TraceLayer(
        identity: digest ?? "uuid:\(layer.record.uuid)", size: layer.blob.fileSize,
        isCompressed: layer.blocks != nil)
    }
  }

  /// Gives `body` the ranges of the disk, in bytes, that are stored in any layer, in order: at most ``stepSize`` at once,
  /// and up to a multiple of that, so that blocks of zeroes are found where file systems have their blocks.
  func forEachStoredRange(_ body: (Range<UInt64>) throws(ImageError) -> Void) throws(ImageError) {
    let sector = UInt64(sectorSize)
    let step = UInt64(stepSize)
    var cursor = map.view.mappings(from: 0, count: virtualSize / sector + (virtualSize % sector == 0 ? 0 : 1))
    var start: UInt64 = 0
    var end: UInt64 = 0
    while let mapping = cursor.next() {
      if mapping.isZeroes {
        if start < end { try body(start..<end) }
        end = min(virtualSize, end + mapping.sectors * sector)
        start = end
        continue
      }
      end = min(virtualSize, end + mapping.sectors * sector)
      while start < end, end >= start / step * step + step {
        let stop = start / step * step + step
        try body(start..<stop)
        start = stop
      }
    }
    if start < end { try body(start..<end) }
  }

  /// The files that are read as this image, on this machine: no command may write over them.
  var files: [String] {
    layers.map(\.blob.path) + [config.path, config.upper.index].compactMap(\.self)
  }

  /// Gives `body` the pieces of bytes `range` of the disk, in order. Zeroes are in no layer and left out, and so is what
  /// is beyond the disk's end.
  public func forEachPiece<Failure: Error>(
    ofDevice range: Range<UInt64>, _ body: (RangePiece) throws(Failure) -> Void
  ) throws(Failure) {
    let sector = UInt64(sectorSize)
    let end = min(range.upperBound, virtualSize)
    guard range.lowerBound < end else { return }
    let first = range.lowerBound / sector
    var cursor = map.view.mappings(from: first, count: (end - 1) / sector - first + 1)
    var mappingStart = first * sector
    while let mapping = cursor.next() {
      let mappingEnd = mappingStart + mapping.sectors * sector
      if !mapping.isZeroes {
        // A range that begins or ends inside a sector takes only that part of the first or last mapping.
        let device = max(range.lowerBound, mappingStart)..<min(end, mappingEnd)
        let blob = mapping.blobSector * sector + (device.lowerBound - mappingStart)
        let number = Int(mapping.layer)
        try layers[number].forEachPart(ofBlob: blob..<blob + UInt64(device.count)) { part throws(Failure) in
          let start = device.lowerBound + (part.lowerBound - blob)
          try body(piece(device: start..<start + UInt64(part.count), layer: number, blob: part))
        }
      }
      mappingStart = mappingEnd
    }
  }

  /// The pieces of bytes `range` of the disk, in order; see ``forEachPiece(ofDevice:_:)``.
  public func pieces(ofDevice range: Range<UInt64>) -> [RangePiece] {
    var found: [RangePiece] = []
    forEachPiece(ofDevice: range) { found.append($0) }
    return found
  }

  /// A piece of a layer that `forEachPart` made.
  func piece(device: Range<UInt64>, layer: Int, blob: Range<UInt64>) -> RangePiece {
    RangePiece(device: device, layer: layer, blob: blob, stored: layers[layer].storedRange(ofBlob: blob))
  }
}

extension Layer {
  /// The most bytes of a piece: a trace's numbers have 32 bits.
  private static let pieceMax: UInt64 = 1 << 30

  /// The bytes of the file as stored that bytes `blob` of the blob space need: of a compressed layer whole blocks, their
  /// checksums included. `blob` must lie within the layer.
  public func storedRange(ofBlob blob: Range<UInt64>) -> Range<UInt64> {
    let base = self.blob.payloadOffset
    guard let blocks else { return base + blob.lowerBound..<base + blob.upperBound }
    if blob.isEmpty { return 0..<0 }
    let first = Int(blob.lowerBound >> UInt64(blocks.blockShift))
    let last = Int((blob.upperBound - 1) >> UInt64(blocks.blockShift))
    let (offset, length) = blocks.storedRange(ofBlocks: first..<last + 1)
    return base + offset..<base + offset + UInt64(length)
  }

  /// The bytes of the blob space that bytes `stored` of the file are a part of: of a compressed layer whole blocks. Empty
  /// when they are only of what is around the blob space: the tar, the compression's header, its jump table.
  public func blobRange(ofStored stored: Range<UInt64>) -> Range<UInt64> {
    let base = blob.payloadOffset
    guard stored.upperBound > base, !stored.isEmpty else { return 0..<0 }
    let start = stored.lowerBound > base ? stored.lowerBound - base : 0
    let end = stored.upperBound - base
    guard let blocks else { return min(start, blobSize)..<min(end, blobSize) }
    guard blocks.blockCount > 0, end > blocks.storedOffset(ofBlock: 0),
      start < blocks.storedOffset(ofBlock: blocks.blockCount)
    else { return 0..<0 }
    let first = blocks.block(storedAt: start)
    let last = blocks.block(storedAt: end - 1)
    let size = UInt64(blocks.blockSize)
    return UInt64(first) * size..<min(UInt64(last + 1) * size, blobSize)
  }

  /// Cuts bytes `blob` of the blob space where pieces end.
  func forEachPart<Failure: Error>(
    ofBlob blob: Range<UInt64>, _ body: (Range<UInt64>) throws(Failure) -> Void
  ) throws(Failure) {
    let size = blocks.map { UInt64($0.blockSize) } ?? Self.pieceMax
    var start = blob.lowerBound
    while start < blob.upperBound {
      let end = min((start / size + 1) * size, blob.upperBound)
      try body(start..<end)
      start = end
    }
  }
}
