import LSMT
import ZFile

/// What to import, and as what.
public struct ImportOptions: Sendable {
  /// A raw disk image: a file, a block device, or `-` for standard input.
  public var source: String
  /// The folder that gets the layer and its configuration; made when missing.
  public var directory: String
  /// How the layer is compressed; nil for not at all.
  public var compression: Compression?
  /// Bytes of content per compressed block: a power of two from 4096 to 65536. Overlaybd cannot read blocks of 65536
  /// bytes that do not compress.
  public var blockSize = 4096
  /// Whether the layer is wrapped in a tar, as registries hold layers.
  public var isTarWrapped = false
  /// The configuration of the image that the new layer is put on; nil for a layer that stands alone.
  public var parent: String?
  /// Bytes that are compared, stored or left out as one: a multiple of 512 up to 1 MiB, and a power of two.
  public var granularity = 4096
  /// The layer's identity; nil for a random one.
  public var uuid: LayerUUID?
  /// The commit message, at most 256 bytes.
  public var message = ""
  /// Whether a layer and a configuration that are there already are replaced.
  public var force = false

  /// Imports `source` into `directory`, uncompressed and without parent.
  public init(source: String, directory: String) {
    self.source = source
    self.directory = directory
  }

  /// What the layer's file is called: the name that overlaybd looks for in a layer's folder.
  public static let layerName = "overlaybd.commit"
  /// What the configuration is called.
  public static let configName = "image.json"

  func check() throws(ImageError) {
    guard granularity >= sectorSize, granularity <= stepSize, granularity.nonzeroBitCount == 1 else {
      throw .refused("granularity \(granularity) is not a power of two from \(sectorSize) to \(stepSize) bytes")
    }
    guard message.utf8.count <= LayerRecord.userTagCapacity else {
      throw .refused(
        "the message has \(message.utf8.count) bytes; a layer has room for \(LayerRecord.userTagCapacity)")
    }
  }
}

/// What an import made.
public struct ImportResult: Equatable, Sendable, Encodable {
  /// The layer's file, absolute.
  public let layerPath: String
  /// The configuration of the image with the layer on top, absolute.
  public let configPath: String
  /// `sha256:<hex>` of the layer's file.
  public let digest: String
  /// Bytes of the layer's file.
  public let size: UInt64
  /// The layer's identity.
  public let uuid: String
  /// Bytes of the device.
  public let virtualSize: UInt64
  /// Segments of the layer.
  public let segmentCount: UInt64
  /// Bytes that the layer stores, before compression.
  public let dataBytes: UInt64
  /// Bytes of zeroes that hide something in the parent.
  public let zeroedBytes: UInt64
  /// What the caller should know, a sentence each.
  public let notes: [String]
}
