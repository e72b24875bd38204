import Image
import Posix

/// What reads of an image need of its layers, for the measurements of remote layers: a floor that no way of fetching
/// gets below.
enum ReplayNeeds {
  /// Chunks that overlaybd fetches for a miss, bytes.
  private static let refill: UInt64 = 256 << 10

  /// Prints one line for the reads in the file at `tracePath`, one `OFFSET LENGTH` a line, of the image at `configPath`:
  /// bytes of the disk, bytes of compressed blocks, and places of 256 KiB that these are in.
  static func run(_ configPath: String, _ tracePath: String) throws {
    let image = try Image.open(configPath: configPath)
    var blocks = Set<Place>()
    var bytes: UInt64 = 0
    var read: UInt64 = 0
    var refills = Set<Place>()
    for line in try text(tracePath).split(separator: "\n") {
      let words = line.split(separator: " ").compactMap { UInt64($0) }
      guard words.count == 2 else { fatalError("\(tracePath): a line is an offset and a length, not \(line)") }
      read += words[1]
      var mappings = image.map.view.mappings(from: words[0] / 512, count: words[1] / 512)
      while let mapping = mappings.next() {
        if mapping.isZeroes { continue }
        let layer = Int(mapping.layer)
        for stored in pieces(image.layers[layer], mapping.blobSector * 512, mapping.sectors * 512)
        where blocks.insert(Place(layer: layer, number: stored.lowerBound)).inserted {
          bytes += UInt64(stored.count)
          for refill in stored.lowerBound / refill...(stored.upperBound - 1) / refill {
            refills.insert(Place(layer: layer, number: refill))
          }
        }
      }
    }
    print("\(read) \(bytes) \(refills.count)")
  }

  private struct Place: Hashable {
    let layer: Int
    let number: UInt64
  }

  /// The stored blocks that a piece of a layer is in, in bytes of its file; of an uncompressed layer its pages.
  private static func pieces(_ layer: Layer, _ offset: UInt64, _ count: UInt64) -> [Range<UInt64>] {
    let size = UInt64(layer.blocks?.blockSize ?? 4096)
    let first = Int(offset / size)
    let last = Int((offset + count - 1) / size)
    var found: [Range<UInt64>] = []
    for block in first...last {
      var start = UInt64(block) * size
      var length = size
      if let stored = layer.blocks?.storedRange(ofBlocks: block..<block + 1) {
        (start, length) = (stored.offset, UInt64(stored.length))
      }
      start += layer.blob.payloadOffset
      found.append(start..<start + length)
    }
    return found
  }

  private static func text(_ path: String) throws -> String {
    String(decoding: try readFile(path, limit: 1 << 24), as: UTF8.self)
  }
}
