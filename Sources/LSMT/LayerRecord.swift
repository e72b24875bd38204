/// Bytes of a sector: the unit of every offset and length in an LSMT index.
public let sectorSize = 512

/// The 4096-byte header or trailer of an overlaybd LSMT file (format 1.1). Both have the same layout.
public struct LayerRecord: Equatable, Sendable {
  /// Bytes of a header or trailer; the data of a layer begins right after its header.
  public static let size = 4096
  /// The most bytes that ``userTag`` can have.
  public static let userTagCapacity = 256

  /// Where a record stands in its file.
  public enum Role: String, Sendable {
    /// The first 4096 bytes.
    case header
    /// The last 4096 bytes of a sealed or committed layer.
    case trailer
  }

  /// The bits that the format uses; others are kept as they were read.
  public enum Flag {
    /// Header (set) or trailer.
    public static let header: UInt32 = 1 << 0
    /// Data file (set) or index file.
    public static let dataFile: UInt32 = 1 << 1
    /// The file has its final index and will not change.
    public static let sealed: UInt32 = 1 << 2
    /// The data of a sparse writable layer, identity-mapped after the header.
    public static let sparse: UInt32 = 1 << 4
  }

  /// Bits of ``Flag``. The header of a layer sealed in place keeps the flags of a writable one (0x03, 0x13).
  public var flags: UInt32
  /// Where the index begins, bytes in this file. Only a trailer (and a writable index file's header) has a real one.
  public var indexOffset: UInt64
  /// 16-byte entries of the index, padding counted.
  public var indexCount: UInt64
  /// Bytes of the device that the layer describes; 0 means "as the layer below".
  public var virtualSize: UInt64
  /// The identity of the layer; null when the stored text is no UUID.
  public var uuid: LayerUUID
  /// The identity of the layer below it; nobody guarantees that it matches.
  public var parentUUID: LayerUUID
  /// Format version, written as 1. Readers do not check it, and neither does this one.
  public var version: UInt8
  /// Format sub-version, written as 1. Not checked either.
  public var subVersion: UInt8
  /// The commit message: at most 256 bytes, without the NUL padding.
  public var userTag: [UInt8]

  /// A record from its fields; `userTag` is cut at ``userTagCapacity`` bytes.
  public init(
    flags: UInt32, indexOffset: UInt64 = 0, indexCount: UInt64 = 0, virtualSize: UInt64,
    uuid: LayerUUID = .null,
    parentUUID: LayerUUID = .null, userTag: [UInt8] = []
  ) {
    self.flags = flags
    self.indexOffset = indexOffset
    self.indexCount = indexCount
    self.virtualSize = virtualSize
    self.uuid = uuid
    self.parentUUID = parentUUID
    self.version = 1
    self.subVersion = 1
    self.userTag = Array(userTag.prefix(Self.userTagCapacity))
  }

  /// Whether it is a header, not a trailer.
  public var isHeader: Bool { flags & Flag.header != 0 }
  /// Whether it belongs to a data file (every layer is one), not to the index file of a writable layer.
  public var isDataFile: Bool { flags & Flag.dataFile != 0 }
  /// Whether the file is sealed. True for the trailer of any sealed layer, for the header only of a committed one.
  public var isSealed: Bool { flags & Flag.sealed != 0 }
  /// Whether it belongs to a sparse writable layer.
  public var isSparse: Bool { flags & Flag.sparse != 0 }

  /// Refuses the record of a writable layer's index file.
  public func requireDataFile() throws(LSMTError) {
    if !isDataFile { throw .notDataFile(flags: flags) }
  }
}
