import Posix

extension ServiceConfig {
  /// Reads the file at `path`.
  public static func load(_ path: String) throws(ImageError) -> ServiceConfig {
    let file = absolutePath(path)
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try readFile(file, limit: ImageConfig.sizeLimit)
    } catch {
      throw .system(call: "reading the service configuration", path: file, error)
    }
    return try parse(bytes, folder: folder(of: file), name: file)
  }

  /// Parses JSON. `folder` is what relative paths count from, `name` what errors call it.
  public static func parse(
    _ bytes: [UInt8], folder: String, name: String = "the service configuration"
  ) throws(ImageError) -> ServiceConfig {
    var config = try decodeJSON(ServiceConfig.self, bytes, name: name)
    config.resolvePaths(in: folder)
    try config.check(name: name)
    return config
  }

  private mutating func resolvePaths(in folder: String) {
    func resolve(_ path: inout String?) { path = absent(path).map { absolutePath($0, in: folder) } }
    resolve(&auditPath)
    resolve(&logPath)
    resolve(&registryCacheDir)
    resolve(&credentialFilePath)
    if logConfig != nil { resolve(&logConfig!.logPath) }
    if cacheConfig != nil { resolve(&cacheConfig!.cacheDir) }
    if gzipCacheConfig != nil { resolve(&gzipCacheConfig!.cacheDir) }
    if certConfig != nil {
      resolve(&certConfig!.certFile)
      resolve(&certConfig!.keyFile)
    }
    if credentialConfig != nil {
      resolve(&credentialConfig!.clientCertificate)
      resolve(&credentialConfig!.clientKey)
      resolve(&credentialConfig!.serverAuthority)
      // In the other modes it is a URL.
      if ["file", "uds"].contains(credentialConfig!.mode) { resolve(&credentialConfig!.path) }
    }
    if warmblk != nil {
      resolve(&warmblk!.caFile)
      resolve(&warmblk!.dockerConfig)
      warmblk!.hosts = warmblk!.hosts?.mapValues { host in
        var host = host
        resolve(&host.caFile)
        resolve(&host.certFile)
        resolve(&host.keyFile)
        return host
      }
    }
  }

  /// Values with which upstream's daemon does not start either, and ours that cannot be meant.
  private func check(name: String) throws(ImageError) {
    func oneOf(_ field: String, _ value: String?, _ allowed: [String]) throws(ImageError) {
      guard let value = absent(value), !allowed.contains(value) else { return }
      throw .invalid(name: name, field: field, problem: "is \(value); known are \(allowed.joined(separator: ", "))")
    }
    try oneOf("registryFsVersion", registryFsVersion, ["v1", "v2"])
    try oneOf("cacheConfig.cacheType", cacheConfig?.cacheType, ["file", "ocf", "download"])
    try oneOf("cacheType", cacheType, ["file", "ocf", "download"])
    try oneOf("credentialConfig.mode", credentialConfig?.mode, ["file", "http", "https", "uds"])
    try oneOf("warmblk.onTimeout", warmblk?.onTimeout, ["fail", "wait"])
    if let seconds = warmblk?.ioTimeout, !(1...86_400).contains(seconds) {
      throw .invalid(name: name, field: "warmblk.ioTimeout", problem: "is \(seconds); 1 to 86400 seconds")
    }
    if let rate = warmblk?.prefetchMBps, !(1...1_000_000).contains(rate) {
      throw .invalid(name: name, field: "warmblk.prefetchMBps", problem: "is \(rate); 1 to 1000000 MB/s")
    }
    if let ioEngine, ioEngine > 2 {
      throw .invalid(
        name: name, field: "ioEngine", problem: "is \(ioEngine); known are 0 (psync), 1 (libaio), 2 (posix aio)")
    }
    for (field, size) in [
      ("cacheConfig.refillSize", cacheConfig?.refillSize), ("gzipCacheConfig.refillSize", gzipCacheConfig?.refillSize),
    ] {
      guard let size, size % 4096 != 0 || size & (size &- 1) != 0 || size == 0 else { continue }
      throw .invalid(name: name, field: field, problem: "is \(size); it must be a power of two from 4096")
    }
  }
}
