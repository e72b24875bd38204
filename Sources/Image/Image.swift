import LSMT

/// An open image: its layers and the one index that they merge into. Immutable, so that any number of threads may
/// read it.
public final class Image: Sendable {
  /// What it was opened from.
  public let config: ImageConfig
  /// Bottom to top; the layer numbers of ``map`` are indices into it.
  public let layers: [Layer]
  /// Bytes of the device: what the topmost layer says that says anything.
  public let virtualSize: UInt64
  /// Which layer has a sector.
  public let map: SegmentMap
  /// Fields of the configuration that are set and have no effect, one sentence each.
  public let warnings: [String]

  /// What brings the layers that are not on this machine; nil when all are.
  public let remote: RemoteLayers?

  private init(
    config: ImageConfig, opened: [Layer.Opened], virtualSize: UInt64?, remote: RemoteLayers?
  ) throws(ImageError) {
    self.config = config
    self.remote = remote
    layers = opened.map(\.layer)
    self.virtualSize = virtualSize ?? layers.last { $0.record.virtualSize > 0 }?.record.virtualSize ?? 0
    warnings = config.warnings
    do throws(LSMTError) {
      map = try SegmentMap(layers: opened.map(\.segments), virtualSize: self.virtualSize)
    } catch {
      throw .stack(name: config.name, error)
    }
  }

  /// Opens the image that the configuration file at `configPath` describes. Layers that are not on this machine are
  /// had as `remote` says; without it they are an error.
  public static func open(configPath: String, remote: RemoteSettings? = nil) throws(ImageError) -> Image {
    try open(config: try ImageConfig.load(configPath), remote: remote)
  }

  /// Opens the image of `config`, as large as `virtualSize` bytes if that is given, whatever the layers say. A field
  /// that would change what is read and is not served is an error.
  public static func open(
    config: ImageConfig, remote: RemoteSettings? = nil, virtualSize: UInt64? = nil
  ) throws(ImageError) -> Image {
    try open(config, remote, virtualSize: virtualSize, allowsNone: false)
  }

  /// Opens the layers of `config` below its upper, which somebody else opens for writing. There may be none.
  public static func open(belowUpperOf config: ImageConfig, remote: RemoteSettings? = nil) throws(ImageError) -> Image {
    var below = config
    below.upper.data = nil
    below.upper.index = nil
    return try open(below, remote, virtualSize: nil, allowsNone: true)
  }

  private static func open(
    _ config: ImageConfig, _ remote: RemoteSettings?, virtualSize: UInt64?, allowsNone: Bool
  ) throws(ImageError) -> Image {
    try config.requireSupported(allowsNone: allowsNone)
    guard config.lowers.count <= SegmentMap.maxLayers else {
      throw .stack(name: config.name, .tooManyLayers(count: config.lowers.count, limit: SegmentMap.maxLayers))
    }
    var layers: RemoteLayers?
    if let remote, try config.needsRegistry() { layers = try RemoteLayers(remote) }
    let opened = try openLayers(config, layers)
    layers?.settle()
    return try Image(config: config, opened: opened, virtualSize: virtualSize, remote: layers)
  }
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
