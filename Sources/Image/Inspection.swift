/// What a file is and what it says about itself. Encodes as JSON with the names of its properties; what does not apply
/// is left out.
public struct Inspection: Encodable, Sendable {
  /// What a file is.
  public enum Kind: String, Encodable, Sendable {
    /// `config.v1.json`.
    case imageConfig = "image configuration"
    /// `overlaybd.json`.
    case serviceConfig = "service configuration"
    /// Written by commit: compact, with an index at its end.
    case committedLayer = "committed layer"
    /// A writable layer with an index appended in place.
    case sealedLayer = "sealed layer"
    /// The data file of a log-structured writable layer.
    case upperData = "data of a writable layer"
    /// The index file of a log-structured writable layer.
    case upperIndex = "index of a writable layer"
    /// The data file of a sparse writable layer.
    case sparseUpper = "data of a sparse writable layer"
    /// A ZFile with something else than a layer inside.
    case zfile = "ZFile"
    /// A trace of what a start reads, ours.
    case trace
    /// A binary I/O trace of overlaybd.
    case overlaybdTrace = "trace of overlaybd"
    /// None of these.
    case unknown
  }

  /// The path as it was given.
  public let path: String
  /// What it is, inside tar and compression.
  public internal(set) var kind = Kind.unknown
  /// Bytes of the file.
  public internal(set) var fileSize: UInt64 = 0
  /// The tar around it.
  public internal(set) var tar: Tar?
  /// Its compression.
  public internal(set) var compression: Compressed?
  /// LSMT header and trailer.
  public internal(set) var header: Record?
  /// The same at the end of a sealed layer.
  public internal(set) var trailer: Record?
  /// What its index maps.
  public internal(set) var index: Index?
  /// The files of a writable layer.
  public internal(set) var upper: Upper?
  /// The layers of an image.
  public internal(set) var image: Stack?
  /// Records of a trace.
  public internal(set) var trace: TraceFacts?
  /// sha256 of the whole file; computed by verification.
  public internal(set) var sha256: String?
  /// Whether all bytes were read and checked, not only the structures.
  public internal(set) var isVerified = false
  /// What is set and has no effect, or is worth knowing.
  public internal(set) var notes: [String] = []
  /// What is wrong.
  public internal(set) var findings: [Finding] = []

  init(path: String) { self.path = path }
}

extension Inspection {
  /// Something that is wrong.
  public struct Finding: Encodable, Equatable, Sendable {
    /// The file that it is in.
    public let file: String
    /// Where in that file, bytes; nil when it is not at one place.
    public let offset: UInt64?
    /// What should be there.
    public let expected: String?
    /// What is there.
    public let found: String?
    /// A sentence that says it all.
    public let message: String
  }

  /// The tar around a layer.
  public struct Tar: Encodable, Sendable {
    /// Where the layer begins, bytes.
    public let payloadOffset: UInt64
    /// Bytes of the layer.
    public let payloadSize: UInt64
  }

  /// A ZFile's facts.
  public struct Compressed: Encodable, Sendable {
    /// `lz4` or `zstd`.
    public let codec: String
    /// Bytes of content per block.
    public let blockSize: UInt32
    /// Number of blocks.
    public let blocks: Int
    /// Bytes of content.
    public let originalSize: UInt64
    /// Bytes of stored blocks, checksums included.
    public let storedSize: UInt64
    /// Content bytes per stored byte.
    public let ratio: Double
    /// Bytes of the longest stored block.
    public let longestBlock: Int
    /// Whether each block has a CRC.
    public let hasChecksums: Bool
    /// Whether the jump table has a CRC.
    public let hasDigest: Bool
    /// Whether the header tells where the jump table is; otherwise the trailer does.
    public let isHeaderFinal: Bool
  }

  /// An LSMT header or trailer.
  public struct Record: Encodable, Sendable {
    /// As stored.
    public let flags: UInt32
    /// Bytes.
    public let indexOffset: UInt64
    /// Entries, padding counted.
    public let indexCount: UInt64
    /// Bytes of the device.
    public let virtualSize: UInt64
    /// The layer's identity.
    public let uuid: String
    /// The identity of the layer below.
    public let parentUUID: String
    /// As in `1.1`.
    public let version: String
    /// The commit message.
    public let message: String
  }

  /// What an index maps; bytes of the device unless said otherwise.
  public struct Index: Encodable, Equatable, Sendable {
    /// Entries without padding.
    public internal(set) var segments = 0
    /// Entries that map data.
    public internal(set) var dataBytes: UInt64 = 0
    /// Entries that read as zeroes.
    public internal(set) var zeroedBytes: UInt64 = 0
    /// What is not mapped.
    public internal(set) var unmappedBytes: UInt64 = 0
    /// Gaps between the mapped ranges.
    public internal(set) var holes = 0
    /// The longest entry.
    public internal(set) var longestBytes: UInt64 = 0
    /// Padding entries; nil when they are not known.
    public internal(set) var padding: Int?
  }

  /// A writable layer's files. What is not whole in them is brought in order when it is opened for writing.
  public struct Upper: Encodable, Sendable {
    /// How the bytes are laid out.
    public enum Kind: String, Encodable, Sendable {
      /// Data is appended, an index file says where each sector is.
      case append = "append-only"
      /// Each sector has its place in a sparse file.
      case sparse
    }
    /// Its layout.
    public let kind: Kind
    /// The index file; nil for a sparse one, and where it was not found.
    public internal(set) var indexPath: String?
    /// Entries of the index file in the order of writing; nil where that was not found.
    public internal(set) var entries: Int?
    /// Bytes of the data file that are mapped.
    public internal(set) var liveBytes: UInt64 = 0
    /// Bytes of the data file that nothing maps any more.
    public internal(set) var garbageBytes: UInt64 = 0
    /// Writes of a server that was killed, which only the run directory has.
    public internal(set) var pendingEntries = 0
    /// Entries that reach beyond the end of the data.
    public internal(set) var cutEntries = 0
    /// Bytes of half an entry at the end of the index file.
    public internal(set) var tornIndexBytes = 0
    /// Bytes of half a sector at the end of the data file.
    public internal(set) var tornDataBytes = 0
    /// Whether a device writes to it now.
    public internal(set) var isInUse = false
  }

  /// An image's layers, bottom to top, and what they merge into.
  public struct Stack: Encodable, Sendable {
    /// Bytes of the device; nil when the layers cannot be merged.
    public internal(set) var virtualSize: UInt64?
    /// Segments of the merged index.
    public internal(set) var segments: Int?
    /// What each layer is, as far as it can be opened.
    public internal(set) var layers: [StackLayer] = []
  }

  /// A layer of an image.
  public struct StackLayer: Encodable, Sendable {
    /// Whether it is the upper, which is on top of all.
    public internal(set) var isUpper = false
    /// The digest that the configuration names.
    public internal(set) var digest: String?
    /// Bytes of the device that are read from this layer's data.
    public internal(set) var visibleDataBytes: UInt64?
    /// Bytes of the device that are zeroes because of this layer.
    public internal(set) var visibleZeroedBytes: UInt64?
    /// Its URL, when it is not on this machine; only a device or an export reads it.
    public internal(set) var remote: String?
    /// What its file is; nil when there is none on this machine.
    public internal(set) var inspection: Inspection?
  }

  /// A trace's facts.
  public struct TraceFacts: Encodable, Sendable {
    /// Reads.
    public let records: Int
    /// Bytes that they read: of overlaybd's the sum, of ours each stored byte once.
    public let bytes: UInt64
    /// Layers of the stack; of overlaybd's, one more than the highest number.
    public let layers: UInt64
  }
}
