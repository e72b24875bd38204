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

  private init(config: ImageConfig, opened: [Layer.Opened], virtualSize: UInt64?) throws(ImageError) {
    self.config = config
    layers = opened.map(\.layer)
    self.virtualSize = virtualSize ?? layers.last { $0.record.virtualSize > 0 }?.record.virtualSize ?? 0
    warnings = config.warnings
    do throws(LSMTError) {
      map = try SegmentMap(layers: opened.map(\.segments), virtualSize: self.virtualSize)
    } catch {
      throw .stack(name: config.name, error)
    }
  }

  /// Opens the image that the configuration file at `configPath` describes.
  public static func open(configPath: String) throws(ImageError) -> Image {
    try open(config: try ImageConfig.load(configPath))
  }

  /// Opens the image of `config`. Every layer must be a file of this machine; a field that would change what is
  /// read and is not served is an error.
  public static func open(config: ImageConfig) throws(ImageError) -> Image {
    try open(config: config, virtualSize: nil)
  }

  /// The same, as large as `virtualSize` bytes whatever the layers say.
  static func open(config: ImageConfig, virtualSize: UInt64?) throws(ImageError) -> Image {
    try config.requireSupported()
    guard config.lowers.count <= SegmentMap.maxLayers else {
      throw .stack(name: config.name, .tooManyLayers(count: config.lowers.count, limit: SegmentMap.maxLayers))
    }
    var opened: [Layer.Opened] = []
    for (number, lower) in config.lowers.enumerated() {
      opened.append(try Layer.open(try config.path(of: lower, number: number), size: lower.size))
    }
    return try Image(config: config, opened: opened, virtualSize: virtualSize)
  }
}

extension ImageConfig {
  /// The file of layer `number`.
  func path(of lower: Lower, number: Int) throws(ImageError) -> String {
    if let path = try LayerLocation.find(lower) { return path }
    throw .layerNotFound(
      name: name, field: "lowers[\(number)]", looked: LayerLocation.candidates(for: lower), digest: lower.digest)
  }
}
