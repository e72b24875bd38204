import BlobStore
import Glibc
import Posix
import Registry

/// How layers that are not on this machine are had: from which registry, through which cache, within which time.
public struct RemoteSettings: Sendable {
  /// How registries are spoken to.
  public var registry = RegistrySettings()
  /// The folder of the node's cache; nil for none.
  public var cacheFolder: String? = Self.standardCacheFolder
  /// What the cache's data may take, bytes.
  public var cacheLimit: UInt64 = 4 << 30
  /// Milliseconds that a read may take until it fails, and that opening a layer may take.
  public var ioTimeout = 30_000
  /// Whether a read goes on waiting after that, instead of failing.
  public var waitsForever = false
  /// Fetching whole layers in the background, for images that do not say themselves.
  public var download: ImageConfig.Download?

  /// Bytes a second that all devices of the node may prefetch together; nil for as many as come.
  public var nodePrefetchRate: UInt64?

  /// `/var/lib/warmblk/cache`.
  public static let standardCacheFolder = "/var/lib/warmblk/cache"
  /// `/etc/overlaybd/overlaybd.json`.
  public static let standardServicePath = "/etc/overlaybd/overlaybd.json"

  /// Without a service configuration: anonymous, or as Docker's configuration of this user says.
  public init() { self.init(dockerConfig: Self.dockerConfigPath) }

  private init(dockerConfig: String) { registry.credentials = [.docker(path: dockerConfig)] }

  /// As the service configuration at `servicePath` says; nil is the standard one, if there is one.
  /// `dockerConfig` is Docker's configuration where the service's names none.
  public static func load(
    servicePath: String?, dockerConfig: String = Self.dockerConfigPath
  ) throws(ImageError) -> RemoteSettings {
    if servicePath == nil, !fileExists(standardServicePath) { return RemoteSettings(dockerConfig: dockerConfig) }
    return RemoteSettings(try ServiceConfig.load(servicePath ?? standardServicePath), dockerConfig: dockerConfig)
  }

  /// `$DOCKER_CONFIG/config.json`, or the one in the user's home.
  public static var dockerConfigPath: String {
    func variable(_ name: String) -> String? { getenv(name).flatMap { absent(String(cString: $0)) } }
    return "\(variable("DOCKER_CONFIG") ?? "\(variable("HOME") ?? "/root")/.docker")/config.json"
  }

  /// What `service` says, field by field.
  public init(_ service: ServiceConfig, dockerConfig: String = Self.dockerConfigPath) {
    let own = service.warmblk
    registry.credentials = service.credentialSources + [.docker(path: own?.dockerConfig ?? dockerConfig)]
    registry.userAgent = absent(service.userAgent) ?? registry.userAgent
    registry.caFile = own?.caFile
    registry.proxy = own?.proxy
    if let certificate = absent(service.certConfig?.certFile) {
      registry.clientCertificate = .init(certificateFile: certificate, keyFile: absent(service.certConfig?.keyFile))
    }
    if service.p2pConfig?.enable ?? false {
      registry.peerPrefix = absent(service.p2pConfig?.address) ?? "http://localhost:9731/accelerator"
    }
    registry.hosts = (own?.hosts ?? [:]).mapValues(\.settings)
    // Upstream's cache has other files; ours keep out of its way.
    let folder = absent(service.cacheConfig?.cacheDir) ?? absent(service.registryCacheDir)
    cacheFolder = folder.map { "\($0)/warmblk" } ?? Self.standardCacheFolder
    if let gigabytes = service.cacheConfig?.cacheSizeGB ?? service.registryCacheSizeGB {
      cacheLimit = UInt64(gigabytes) << 30
    }
    if let seconds = own?.ioTimeout { ioTimeout = Int(seconds) * 1000 }
    waitsForever = own?.onTimeout == "wait"
    if let rate = own?.prefetchMBps { nodePrefetchRate = UInt64(max(1, rate)) * 1_000_000 }
    download = service.download
  }
}

extension ServiceConfig {
  /// `credentialConfig`, or where it has no mode, the older `credentialFilePath`.
  fileprivate var credentialSources: [CredentialSource] {
    let path = absent(credentialConfig?.path) ?? ""
    let seconds = Int(clamping: max(1, credentialConfig?.timeout ?? 1))
    switch absent(credentialConfig?.mode) {
    case "file": return [.file(path: path)]
    case "uds": return [.unixSocket(path: path, seconds: seconds)]
    case "http", "https":
      let certificate = absent(credentialConfig?.clientCertificate).map {
        ClientCertificate(certificateFile: $0, keyFile: absent(credentialConfig?.clientKey))
      }
      return [
        .http(
          url: path, seconds: seconds, caFile: absent(credentialConfig?.serverAuthority),
          clientCertificate: certificate)
      ]
    default: return [.file(path: absent(credentialFilePath) ?? "/opt/overlaybd/cred.json")]
    }
  }
}

extension ServiceConfig.Host {
  fileprivate var settings: RegistrySettings.Host {
    var host = RegistrySettings.Host()
    host.mirrors = mirrors ?? []
    host.skipTLSVerify = skipVerify ?? false
    host.caFile = absent(caFile)
    host.clientCertificate = absent(certFile).map { .init(certificateFile: $0, keyFile: absent(keyFile)) }
    host.allowPlainRedirects = allowPlainRedirects ?? false
    return host
  }
}
