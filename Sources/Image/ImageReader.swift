import Glibc
import LSMT

/// Reads the merged view of an image, synchronously: for export, verification and comparing with a parent. Any byte
/// range, aligned or not. One thread at a time; make several for several threads.
public struct ImageReader: ~Copyable {
  private let image: Image
  private var readers: [LayerReader?]

  /// A reader of `image`. Buffers for a layer are made when it is first read.
  public init(_ image: Image) {
    self.image = image
    readers = Array(repeating: nil, count: image.layers.count)
  }

  /// Fills `destination` from byte `offset` of the device, or throws: never less, never a guess.
  public mutating func read(
    into destination: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(ImageError) {
    if destination.isEmpty { return }
    let (end, overflow) = offset.addingReportingOverflow(UInt64(destination.count))
    guard !overflow, end <= image.virtualSize else {
      throw .outOfBounds(
        path: image.config.name, offset: offset, wanted: destination.count, size: image.virtualSize)
    }
    let sector = UInt64(sectorSize)
    let first = offset / sector
    var cursor = image.map.view.mappings(from: first, count: (end - 1) / sector - first + 1)
    // A range that begins or ends inside a sector takes only that part of the first or last mapping.
    var position = offset
    var mappingStart = first * sector
    while let mapping = cursor.next() {
      let mappingEnd = mappingStart + mapping.sectors * sector
      let count = Int(min(mappingEnd, end) - position)
      let start = Int(position - offset)
      let part = UnsafeMutableRawBufferPointer(rebasing: destination[start..<start + count])
      if mapping.isZeroes {
        memset(part.baseAddress!, 0, part.count)
      } else {
        let skipped = position - mappingStart
        try reader(of: Int(mapping.layer)).read(into: part, at: mapping.blobSector * sector + skipped)
      }
      position += UInt64(count)
      mappingStart = mappingEnd
    }
    precondition(position == end, "mappings are without gaps")
  }

  private mutating func reader(of layer: Int) throws(ImageError) -> LayerReader {
    if let reader = readers[layer] { return reader }
    let reader = try image.layers[layer].reader()
    readers[layer] = reader
    return reader
  }
}
