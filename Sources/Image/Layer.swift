import BlobStore
import LSMT
import ZFile

/// One open layer: sealed, or an upper that nobody writes meanwhile. Immutable after opening, so that any number of threads may use it.
///
/// `@unchecked`: ``blocks`` points into memory that the jump table in `container` owns and nobody writes.
public final class Layer: @unchecked Sendable {
  /// Where the compressed blocks are; nil for a layer that is not compressed. Valid as long as this object.
  public let blocks: JumpTable.View?
  /// The LSMT header: what a layer sealed in place was before.
  public let header: LayerRecord
  /// The LSMT trailer: size, identity, place of the index. Of an upper its header.
  public let record: LayerRecord
  /// Entries of its index, padding not counted.
  public let segmentCount: Int
  private let container: Container
  /// Keeps writers off an upper.
  private let lock: ReadLock?

  /// The layer's file.
  public var blob: Blob { container.blob }
  /// Bytes of the layer without tar and compression. Blob sectors of the index count in this space.
  public var blobSize: UInt64 { container.size }
  /// The header or trailer of its compression; nil for a layer that is not compressed.
  public var zfile: ZFileRecord? { container.zfile }

  private init(
    container: consuming Container, header: LayerRecord, record: LayerRecord, segmentCount: Int, lock: ReadLock? = nil
  ) {
    blocks = container.view
    self.header = header
    self.record = record
    self.segmentCount = segmentCount
    self.lock = lock
    self.container = container
  }

  /// A layer and its index, which goes into the image's map and is not kept.
  struct Opened {
    let layer: Layer
    let segments: [Segment]
  }

  /// Opens the sealed layer in `blob`. `size` is what the configuration says of it, 0 or nil when it does not.
  static func open(_ blob: Blob, size: UInt64? = nil) throws(ImageError) -> Opened {
    if let size, size > 0, size != blob.fileSize {
      throw .sizeMismatch(path: blob.path, expected: size, found: blob.fileSize)
    }
    return try open(try Container.open(blob))
  }

  /// Opens the sealed layer in `container`.
  static func open(_ container: consuming Container) throws(ImageError) -> Opened {
    let path = container.blob.path
    let reader = try container.reader()
    let size = container.size
    let recordSize = UInt64(LayerRecord.size)
    guard size >= recordSize else {
      throw .notALayer(path: path, found: "\(size) bytes of content, a layer has \(2 * recordSize) at least")
    }
    let headerBytes = try reader.bytes(at: 0, count: LayerRecord.size)
    guard LayerRecord.isLSMT(headerBytes.span.bytes) else {
      throw .notALayer(path: path, found: "it begins with \(FileSignature(headerBytes).description)")
    }
    let header = try lsmt(path) { () throws(LSMTError) in
      let header = try LayerRecord(parsing: headerBytes.span.bytes, as: .header)
      try header.requireDataFile()
      return header
    }
    let trailerBytes = try reader.bytes(at: size - recordSize, count: LayerRecord.size)
    let (record, index) = try lsmt(path) { () throws(LSMTError) in
      let record = try LayerRecord(parsing: trailerBytes.span.bytes, as: .trailer)
      guard record.virtualSize <= SegmentMap.maxVirtualSize else {
        throw .virtualSizeTooLarge(bytes: record.virtualSize, limit: SegmentMap.maxVirtualSize)
      }
      return (record, try SealedIndex(trailer: record, layerSize: size))
    }
    let indexBytes = try reader.bytes(at: index.byteOffset, count: index.byteCount)
    let segments = try lsmt(path) { () throws(LSMTError) in try index.decode(indexBytes.span.bytes) }
    let layer = Layer(container: container, header: header, record: record, segmentCount: segments.count)
    return Opened(layer: layer, segments: segments)
  }

  /// The data file of an upper, which is in `blob` and has this `header`, as a layer of `segments`. `lock` is kept.
  static func open(
    upper blob: Blob, header: LayerRecord, segments: [Segment], lock: ReadLock?
  ) throws(ImageError) -> Opened {
    let layer = Layer(
      container: try Container.open(blob), header: header, record: header, segmentCount: segments.count, lock: lock)
    return Opened(layer: layer, segments: segments)
  }

  /// A reader of the layer's blob space.
  func reader() throws(ImageError) -> LayerReader { try container.reader() }

  private static func lsmt<T>(_ path: String, _ body: () throws(LSMTError) -> T) throws(ImageError) -> T {
    do throws(LSMTError) { return try body() } catch { throw .layer(path: path, error) }
  }
}
