/// An overlaybd image configuration, `config.v1.json`: which layers an image consists of, bottom to top.
///
/// Relative paths count from the folder of the configuration file, so that a folder with an image can be moved;
/// after parsing all paths are absolute. An empty string is the same as an absent key, unknown keys are ignored
/// and a key with a value of the wrong JSON type is an error that names the key.
public struct ImageConfig: Equatable, Sendable {
  /// One entry of `lowers`.
  public struct Lower: Equatable, Sendable {
    /// `file`: the layer's blob on this machine.
    public var file: String?
    /// `dir`: a folder in which the blob is looked for under the names of ``LayerLocation``.
    public var dir: String?
    /// `digest`: `sha256:<hex>` of the whole blob, tar included.
    public var digest: String?
    /// `size`: bytes of the whole blob, tar included.
    public var size: UInt64?
    /// `targetFile` (turboOCI): a local tar that holds the files' content.
    public var targetFile: String?
    /// `targetDigest` (turboOCI): the same in the registry.
    public var targetDigest: String?
    /// `gzipIndex` (turboOCI): the index into a gzip target.
    public var gzipIndex: String?

    /// A layer by its parts; nil is absent.
    public init(
      file: String? = nil, dir: String? = nil, digest: String? = nil, size: UInt64? = nil,
      targetFile: String? = nil, targetDigest: String? = nil, gzipIndex: String? = nil
    ) {
      self.file = file
      self.dir = dir
      self.digest = digest
      self.size = size
      self.targetFile = targetFile
      self.targetDigest = targetDigest
      self.gzipIndex = gzipIndex
    }
  }

  /// `upper`: the writable layer.
  public struct Upper: Equatable, Sendable {
    /// `index`: the file of its mappings.
    public var index: String?
    /// `data`: the file of its data.
    public var data: String?
    /// `target` (turboOCI).
    public var target: String?
    /// `gzipIndex` (turboOCI).
    public var gzipIndex: String?
    /// `vsize`, which the snapshotter writes and the engine ignores.
    public var virtualSize: UInt64?

    /// An upper by its parts; nil is absent.
    public init(
      index: String? = nil, data: String? = nil, target: String? = nil, gzipIndex: String? = nil,
      virtualSize: UInt64? = nil
    ) {
      self.index = index
      self.data = data
      self.target = target
      self.gzipIndex = gzipIndex
      self.virtualSize = virtualSize
    }
  }

  /// `download`: fetching whole blobs in the background. The same object is in the service configuration.
  public struct Download: Equatable, Sendable, Codable {
    /// Whether it is done at all.
    public var enable: Bool?
    /// Seconds to wait first.
    public var delay: Int64?
    /// Up to this many random seconds more.
    public var delayExtra: Int64?
    /// Throttle, in MB/s.
    public var maxMBps: Int64?
    /// Attempts per layer.
    public var tryCnt: Int64?
    /// Bytes per request.
    public var blockSize: UInt64?
  }

  /// The file that it was read from, absolute; nil when made in memory.
  public var path: String?
  /// `repoBlobUrl`: `https://host/v2/<repo>/blobs`.
  public var repoBlobURL: String?
  /// `lowers`, bottom to top.
  public var lowers: [Lower]
  /// `upper`.
  public var upper: Upper
  /// `resultFile`: where `success` or `failed:<reason>` is written when a device is made.
  public var resultFile: String?
  /// `download`; nil when the key is absent, which means "as the service configuration says".
  public var download: Download?
  /// The last of the file's `lowers` where `accelerationLayer` is true: it holds a trace and no blocks, and is none of
  /// ``lowers``.
  public var accelerationLayer: Lower?
  /// `recordTracePath`: a trace or a list of files to replay, or an empty file to record into.
  public var recordTracePath: String?

  /// A configuration of local, read-only layers.
  public init(lowers: [Lower]) {
    self.lowers = lowers
    upper = Upper()
  }

  /// How messages call it.
  var name: String { path ?? "the image configuration" }
}
