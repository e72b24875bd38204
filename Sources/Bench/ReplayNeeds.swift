import Image
import Posix
import Trace

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
    var total: UInt64 = 0
    var refills = Set<Place>()
    for read in try reads(tracePath) {
      total += read.range.upperBound - read.range.lowerBound
      image.forEachPiece(ofDevice: read.range) { piece in
        for stored in pages(image.layers[piece.layer], piece)
        where blocks.insert(Place(layer: piece.layer, number: stored.lowerBound)).inserted {
          bytes += UInt64(stored.count)
          for refill in stored.lowerBound / refill...(stored.upperBound - 1) / refill {
            refills.insert(Place(layer: piece.layer, number: refill))
          }
        }
      }
    }
    print("\(total) \(bytes) \(refills.count)")
  }

  private struct Place: Hashable {
    let layer: Int
    let number: UInt64
  }

  /// What is fetched for a piece, in bytes of its layer's file: its block; of an uncompressed layer its pages.
  private static func pages(_ layer: Layer, _ piece: RangePiece) -> [Range<UInt64>] {
    if layer.blocks != nil { return [piece.stored] }
    let page: UInt64 = 4096
    let start = layer.blob.payloadOffset
    return (piece.blob.lowerBound / page...(piece.blob.upperBound - 1) / page).map {
      start + $0 * page..<start + ($0 + 1) * page
    }
  }

  private static func reads(_ path: String) throws -> [DeviceRead] {
    let text = try readFile(path, limit: 1 << 24)
    return try DeviceReads(parsing: text.span.bytes, as: .ranges).reads
  }
}
