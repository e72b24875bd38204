extension ServiceConfig {
  /// Fields that are set and have no effect in this version, a sentence each; none of them changes what is read.
  public var warnings: [String] { idleFields.map { "`\($0.0)`: \($0.1)" } }

  private var idleFields: [(String, String)] {
    let journal = "messages go to standard error, which systemd keeps"
    let threads = "every queue of a device has its own thread"
    let cache = "all blobs of the node are in one cache, of files"
    let fields: [(String, Bool, String)] = [
      ("registryFsVersion", absent(registryFsVersion) != nil, "there is one registry client"),
      ("cacheConfig.cacheType", ["ocf", "download"].contains(cacheConfig?.cacheType), cache),
      ("cacheType", ["ocf", "download"].contains(cacheType), cache),
      ("cacheConfig.refillSize", cacheConfig?.refillSize != nil, "how much is fetched follows the reads"),
      ("cacheConfig.blockSize", cacheConfig?.blockSize != nil, cache),
      ("gzipCacheConfig", gzipCacheConfig?.enable ?? false, "turboOCI is not served"),
      ("ioEngine", ioEngine != nil, "how a file is read is chosen by what its file system offers"),
      ("enableThread", enableThread ?? false, threads),
      ("workpoolSize", workpoolSize != nil, threads),
      ("enableAudit", enableAudit ?? false, "there is no audit log"),
      ("auditPath", auditPath != nil, "there is no audit log"),
      ("logConfig", logConfig?.logPath != nil, journal),
      ("logLevel", logLevel != nil, journal),
      ("logPath", logPath != nil, journal),
      ("exporterConfig", exporterConfig?.enable ?? false, "`warmblk metrics` prints them"),
      ("prefetchConfig", prefetchConfig?.concurrency != nil, "how many requests are under way follows the network"),
      ("serviceConfig", serviceConfig?.enable ?? false, "there is no API for live snapshots"),
    ]
    return fields.filter(\.1).map { ($0.0, $0.2) }
  }
}
