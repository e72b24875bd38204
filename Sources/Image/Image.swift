import BlobStore
import LSMT

/// An open image: its layers and the one index that they merge into. Immutable, so that any number of threads may
/// read it.
public final class Image: Sendable {
  /// What it was opened from.
  public let config: ImageConfig
  /// Bottom to top, the upper among them where it is read as a layer; the layer numbers of ``map`` are indices into it.
  public let layers: [Layer]
  /// Bytes of the device: what the topmost layer says that says anything.
  public let virtualSize: UInt64
  /// Which layer has a sector.
  public let map: SegmentMap
  /// Fields of the configuration that are set and have no effect, and what of the upper is not whole, one sentence each.
  public let warnings: [String]

  /// What brings the layers that are not on this machine; nil when all are.
  public let remote: RemoteLayers?

  private init(
    config: ImageConfig, opened: [Layer.Opened], virtualSize: UInt64?, remote: RemoteLayers?, upper: OpenUpper?
  ) throws(ImageError) {
    self.config = config
    self.remote = remote
    let opened = opened + [upper?.opened].compactMap(\.self)
    layers = opened.map(\.layer)
    self.virtualSize = virtualSize ?? layers.last { $0.record.virtualSize > 0 }?.record.virtualSize ?? 0
    warnings = config.warnings + (upper?.notes ?? [])
    do throws(LSMTError) {
      map = try SegmentMap(layers: opened.map(\.segments), virtualSize: self.virtualSize)
    } catch {
      throw .stack(name: config.name, error)
    }
  }

  private init(_ below: Image, _ top: Layer.Opened, config: ImageConfig) throws(ImageError) {
    self.config = config
    remote = below.remote
    layers = below.layers + [top.layer]
    virtualSize = top.layer.record.virtualSize > 0 ? top.layer.record.virtualSize : below.virtualSize
    warnings = []
    do throws(LSMTError) {
      map = try SegmentMap(over: below.map, adding: top.segments, virtualSize: virtualSize)
    } catch {
      throw .stack(name: config.name, error)
    }
  }

  /// This image with one layer more: the sealed one at `path`, which is opened by `openPath` if that is another way to it.
  /// The layers below stay open. `config` is what the image is called from now on.
  public func adding(
    layer path: String, openPath: String? = nil, config: ImageConfig
  ) throws(ImageError) -> Image {
    let blob: Blob
    do throws(BlobError) { blob = try Blob(path: path, openedBy: openPath) } catch { throw .blob(error) }
    return try Image(self, try Layer.open(blob), config: config)
  }

  /// Opens the image that the configuration file at `configPath` describes. Layers that are not on this machine are
  /// had as `remote` says; without it they are an error.
  public static func open(
    configPath: String, remote: RemoteSettings? = nil, upper: UpperUse = .refused
  ) throws(ImageError) -> Image {
    try open(config: try ImageConfig.load(configPath), remote: remote, upper: upper)
  }

  /// Opens the image of `config`, as large as `virtualSize` bytes if that is given, whatever the layers say. A field
  /// that would change what is read and is not served is an error, and so is an upper unless `upper` says what becomes
  /// of it.
  public static func open(
    config: ImageConfig, remote: RemoteSettings? = nil, virtualSize: UInt64? = nil, upper: UpperUse = .refused
  ) throws(ImageError) -> Image {
    // Who opens the upper to write to it completes a snapshot that was begun before.
    if case .leftOut = upper {} else { try SnapshotJournal.requireNone(config) }
    try config.requireSupported(upper: upper)
    // First, because it may be in use: that is worth knowing before anything is fetched.
    let openUpper = try OpenUpper.of(config, use: upper)
    guard config.lowers.count <= SegmentMap.maxLayers else {
      throw .stack(name: config.name, .tooManyLayers(count: config.lowers.count, limit: SegmentMap.maxLayers))
    }
    var layers: RemoteLayers?
    if let remote, try config.needsRegistry() { layers = try RemoteLayers(remote) }
    let opened = try openLayers(config, layers)
    layers?.settle()
    return try Image(config: config, opened: opened, virtualSize: virtualSize, remote: layers, upper: openUpper)
  }
}

/// What becomes of the upper that a configuration names.
public enum UpperUse: Sendable {
  /// A configuration with an upper is not opened.
  case refused
  /// The layers below the upper are opened, of which there may be none: somebody else opens the upper to write to it.
  case leftOut
  /// The upper is read as the topmost layer, and locked against writers as long as the image is open. `pendingFolder`:
  /// where a server that was killed may have left writes that the upper's files do not have yet; then it is refused.
  case readOnly(pendingFolder: String)
  /// The upper is read as the topmost layer, as its files are now, though a server may be writing them and may have more:
  /// for saying what is there, not for using it.
  case asItIs
}

extension ImageConfig {
  /// Whether a layer is not on this machine and may be had from a registry: only then its threads are worth starting.
  fileprivate func needsRegistry() throws(ImageError) -> Bool {
    if repoBlobURL == nil { return false }
    for lower in lowers where lower.digest != nil {
      if try LayerLocation.find(lower) == nil { return true }
    }
    return false
  }
}
