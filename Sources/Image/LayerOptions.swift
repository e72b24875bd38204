import LSMT
import ZFile

/// The layer that a commit or a merge makes.
public struct LayerOptions: Sendable {
  /// Its file.
  public var output: String
  /// How it is compressed; nil for not at all.
  public var compression: Compression?
  /// Bytes of content per compressed block, as in ``ImportOptions/blockSize``.
  public var blockSize = 4096
  /// Whether it is wrapped in a tar, as registries hold layers.
  public var isTarWrapped = false
  /// Its identity; null for none, which is what overlaybd gives a layer unless told otherwise.
  public var uuid = LayerUUID.null
  /// The identity of the layer below; nil for what the source says.
  public var parentUUID: LayerUUID?
  /// The commit message, at most 256 bytes.
  public var tag = ""
  /// Whether a file that is there already is replaced.
  public var force = false
  /// Whether it may have more entries than today's readers accept.
  public var allowsManyEntries = false

  /// A plain layer in the file `output`.
  public init(output: String) { self.output = output }

  func check() throws(ImageError) {
    guard tag.utf8.count <= LayerRecord.userTagCapacity else {
      throw .refused("the tag has \(tag.utf8.count) bytes; a layer has room for \(LayerRecord.userTagCapacity)")
    }
  }
}

/// A layer that was made.
public struct LayerResult: Equatable, Sendable, Encodable {
  /// Its file, absolute.
  public let layerPath: String
  /// `sha256:<hex>` of the file.
  public let digest: String
  /// Bytes of the file.
  public let size: UInt64
  /// Its identity.
  public let uuid: String
  /// The identity of the layer below.
  public let parentUUID: String
  /// Bytes of the device; 0 means as the layer below.
  public let virtualSize: UInt64
  /// Segments.
  public let segmentCount: UInt64
  /// Bytes that it stores, before compression.
  public let dataBytes: UInt64
  /// Bytes that it says are zeroes.
  public let zeroedBytes: UInt64
  /// What the caller should know, a sentence each.
  public let notes: [String]
}
