extension ServiceConfig {
  private static let remote = "layers are read from this machine only"

  /// Fields that are set and have no effect in this version, a sentence each; none of them changes what is read.
  public var warnings: [String] {
    registryFields.map { "`\($0)`: \(Self.remote)" } + localFields.map { "`\($0.0)`: \($0.1)" }
  }

  /// Names of the fields that only matter for remote layers.
  private var registryFields: [String] {
    let fields: [(String, Bool)] = [
      ("registryFsVersion", absent(registryFsVersion) != nil),
      ("cacheConfig", cacheConfig != nil),
      ("cacheType", absent(cacheType) != nil),
      ("registryCacheDir", registryCacheDir != nil),
      ("registryCacheSizeGB", registryCacheSizeGB != nil),
      ("gzipCacheConfig", gzipCacheConfig?.enable ?? false),
      ("credentialConfig", absent(credentialConfig?.mode) != nil),
      ("credentialFilePath", credentialFilePath != nil),
      ("download", download?.enable ?? false),
      ("p2pConfig", p2pConfig?.enable ?? false),
      ("certConfig", certConfig?.certFile != nil || certConfig?.keyFile != nil),
      ("userAgent", absent(userAgent) != nil),
    ]
    return fields.filter(\.1).map(\.0)
  }

  private var localFields: [(String, String)] {
    let journal = "messages go to standard error, which systemd keeps"
    let threads = "every queue of a device has its own thread"
    let fields: [(String, Bool, String)] = [
      ("ioEngine", ioEngine != nil, "how a file is read is chosen by what its file system offers"),
      ("enableThread", enableThread ?? false, threads),
      ("workpoolSize", workpoolSize != nil, threads),
      ("enableAudit", enableAudit ?? false, "there is no audit log"),
      ("auditPath", auditPath != nil, "there is no audit log"),
      ("logConfig", logConfig?.logPath != nil, journal),
      ("logLevel", logLevel != nil, journal),
      ("logPath", logPath != nil, journal),
      ("exporterConfig", exporterConfig?.enable ?? false, "metrics are not exported"),
      ("prefetchConfig", prefetchConfig?.concurrency != nil, "traces are not replayed"),
      ("serviceConfig", serviceConfig?.enable ?? false, "there is no API for live snapshots"),
    ]
    return fields.filter(\.1).map { ($0.0, $0.2) }
  }
}
