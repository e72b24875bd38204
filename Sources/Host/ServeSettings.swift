import Image

/// What a new server of a device has to know beside the image: a part of `N.json`.
///
/// Not what only matters once: traces, what was waited for, and what was recorded.
public struct ServeSettings: Codable, Equatable, Sendable {
  /// How layers that are in a registry are had.
  public var remote = RemoteChoices()
  /// Whether the disk refuses writes, whatever the image has.
  public var isReadOnly = false

  /// What a device has that nothing was said about.
  public init() {}
}

/// How layers that are in a registry are had, as it was said: files are read again by each server, so that what changed
/// in them (credentials, mirrors) counts.
public struct RemoteChoices: Codable, Equatable, Sendable {
  /// overlaybd's service configuration, absolute; nil for the standard one, if there is one.
  public var serviceConfig: String?
  /// Docker's configuration, where the service's names none.
  public var dockerConfig = RemoteSettings.dockerConfigPath
  /// The cache's folder, absolute; nil as the service configuration says.
  public var cacheFolder: String?
  /// Whether there is a cache.
  public var hasCache = true
  /// Milliseconds that a read may take; nil as the service configuration says.
  public var ioTimeout: Int?
  /// Whether a read goes on waiting then; nil as the service configuration says.
  public var waitsForever: Bool?

  /// As the service configuration says.
  public init() {}

  /// The service's settings with what was chosen instead.
  public func settings() throws(HostError) -> RemoteSettings {
    var settings: RemoteSettings
    do throws(ImageError) {
      settings = try RemoteSettings.load(servicePath: serviceConfig, dockerConfig: dockerConfig)
    } catch {
      throw .image(error)
    }
    if let cacheFolder { settings.cacheFolder = cacheFolder }
    if !hasCache { settings.cacheFolder = nil }
    if let ioTimeout { settings.ioTimeout = ioTimeout }
    if let waitsForever { settings.waitsForever = waitsForever }
    return settings
  }
}
