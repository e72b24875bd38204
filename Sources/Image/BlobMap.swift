import LSMT

/// Which parts of the disk show bytes of a layer: the merged index the other way round. Made once for an image; 24 bytes
/// for each of the map's runs of data, while it lives.
public struct BlobMap: Sendable {
  /// Sectors of a layer that the disk shows in one go.
  private struct Extent {
    let blob: UInt64
    let device: UInt64
    let count: UInt64
    var end: UInt64 { blob + count }
  }

  private let image: Image
  /// For each layer its extents in the order of the blob.
  private let extents: [[Extent]]
  /// For each layer the most sectors of an extent: how far before a range one can begin that reaches into it.
  private let longest: [UInt64]

  /// Turns the map of `image` round.
  public init(_ image: Image) {
    var extents = [[Extent]](repeating: [], count: image.layers.count)
    var start: UInt64 = 0
    let view = image.map.view
    for index in 0..<view.count {
      let run = view[index]
      if !run.isZeroes {
        extents[Int(run.layer)].append(
          Extent(blob: run.blobSector(of: start), device: start, count: run.end - start))
      }
      start = run.end
    }
    for layer in extents.indices { extents[layer].sort { ($0.blob, $0.device) < ($1.blob, $1.device) } }
    longest = extents.map { layer in layer.reduce(0) { max($0, $1.count) } }
    self.image = image
    self.extents = extents
  }

  /// The pieces of bytes `range` of a layer's blob space, in the order of the blob. What the disk shows twice comes twice;
  /// what it does not show has no ``RangePiece/device``. What is beyond the layer's end is left out.
  public func pieces(ofLayer layer: Int, blob range: Range<UInt64>) -> [RangePiece] {
    var found: [RangePiece] = []
    let whole = image.layers[layer]
    let end = min(range.upperBound, whole.blobSize)
    guard range.lowerBound < end else { return [] }
    func add(_ blob: Range<UInt64>, device: UInt64?) {
      whole.forEachPart(ofBlob: blob) { part in
        let start = device.map { $0 + (part.lowerBound - blob.lowerBound) }
        found.append(
          image.piece(device: start.map { $0..<$0 + UInt64(part.count) } ?? 0..<0, layer: layer, blob: part))
      }
    }
    let sector = UInt64(sectorSize)
    var reached = range.lowerBound
    for extent in extents[layer][first(in: layer, reaching: range.lowerBound / sector)...] {
      let start = max(extent.blob * sector, range.lowerBound)
      if start >= end { break }
      let stop = clipped(extent, to: end)
      if stop <= start { continue }
      if start > reached { add(reached..<start, device: nil) }
      add(start..<stop, device: extent.device * sector + (start - extent.blob * sector))
      reached = max(reached, stop)
    }
    if reached < end { add(reached..<end, device: nil) }
    return found
  }

  /// The pieces of what bytes `range` of a layer's file are needed for; see ``Layer/blobRange(ofStored:)``.
  public func pieces(ofLayer layer: Int, stored range: Range<UInt64>) -> [RangePiece] {
    pieces(ofLayer: layer, blob: image.layers[layer].blobRange(ofStored: range))
  }

  /// Where the part of an extent before byte `end` of the blob ends; the last sector of the disk may be cut.
  private func clipped(_ extent: Extent, to end: UInt64) -> UInt64 {
    let sector = UInt64(sectorSize)
    let count = min(extent.count * sector, image.virtualSize - extent.device * sector)
    return min(extent.blob * sector + count, end)
  }

  /// The first extent of a layer that can reach beyond `sector`.
  private func first(in layer: Int, reaching sector: UInt64) -> Int {
    let extents = extents[layer]
    let from = sector > longest[layer] ? sector - longest[layer] : 0
    var first = 0
    var end = extents.count
    while first < end {
      let middle = (first + end) / 2
      if extents[middle].blob < from { first = middle + 1 } else { end = middle }
    }
    return first
  }
}
