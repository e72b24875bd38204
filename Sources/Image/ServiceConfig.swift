/// An overlaybd service configuration, `overlaybd.json`: what upstream's daemon reads for all its images. Every key is
/// known; none of them changes what is read, and ``warnings`` names those that are set and have no effect. What only
/// Warmblk knows is under `warmblk`, which overlaybd skips.
///
/// Unknown keys are ignored, and a key with a value of the wrong JSON type is an error that names the key. Relative
/// paths count from the folder of the configuration file.
public struct ServiceConfig: Equatable, Sendable, Codable {
  /// `logConfig`.
  public struct Log: Equatable, Sendable, Codable {
    /// 0 debug … 4 fatal.
    public var logLevel: Int64?
    /// The log file.
    public var logPath: String?
    /// MB before it is rotated.
    public var logSizeMB: Int64?
    /// Files to keep.
    public var logRotateNum: Int64?
  }

  /// `cacheConfig`.
  public struct Cache: Equatable, Sendable, Codable {
    /// `file`, `ocf` or `download`.
    public var cacheType: String?
    /// The cache's folder.
    public var cacheDir: String?
    /// Its size, in GB.
    public var cacheSizeGB: UInt32?
    /// Bytes that a miss fetches: a power of two and a multiple of 4096.
    public var refillSize: UInt32?
    /// Bytes of an `ocf` block.
    public var blockSize: UInt32?
  }

  /// `gzipCacheConfig`.
  public struct GzipCache: Equatable, Sendable, Codable {
    /// Whether decompressed targets are cached.
    public var enable: Bool?
    /// The cache's folder.
    public var cacheDir: String?
    /// Its size, in GB.
    public var cacheSizeGB: UInt32?
    /// Bytes that a miss fetches.
    public var refillSize: UInt32?
  }

  /// `credentialConfig`.
  public struct Credential: Equatable, Sendable, Codable {
    /// `file`, `http`, `https` or `uds`.
    public var mode: String?
    /// A file, a URL or a socket, as `mode` has it.
    public var path: String?
    /// Seconds.
    public var timeout: Int64?
    /// `https`: the client's certificate.
    public var clientCertificate: String?
    /// `https`: its key.
    public var clientKey: String?
    /// `https`: what the server's certificate must be signed by.
    public var serverAuthority: String?

    enum CodingKeys: String, CodingKey {
      case mode, path, timeout
      case clientCertificate = "client_cert_path"
      case clientKey = "client_key_path"
      case serverAuthority = "server_ca_path"
    }
  }

  /// `p2pConfig`, and `serviceConfig`, the API for live snapshots.
  public struct Endpoint: Equatable, Sendable, Codable {
    /// Whether it is used.
    public var enable: Bool?
    /// Its URL.
    public var address: String?
  }

  /// `exporterConfig`: metrics.
  public struct Exporter: Equatable, Sendable, Codable {
    /// Whether there is an exporter.
    public var enable: Bool?
    /// The path of its URL.
    public var uriPrefix: String?
    /// Its port.
    public var port: UInt16?
    /// Microseconds; upstream does not use it.
    public var updateInterval: Int64?
  }

  /// `prefetchConfig`.
  public struct Prefetch: Equatable, Sendable, Codable {
    /// Reads at the same time.
    public var concurrency: Int64?
  }

  /// `certConfig`: the registry client's own certificate.
  public struct Certificate: Equatable, Sendable, Codable {
    /// The certificate's file.
    public var certFile: String?
    /// Its key's.
    public var keyFile: String?
  }

  /// `warmblk.hosts`: what is particular about one host.
  public struct Host: Equatable, Sendable, Codable {
    /// Asked before the host, in order.
    public var mirrors: [String]?
    /// Whether its certificate is not verified.
    public var skipVerify: Bool?
    /// What its certificate must be signed by, instead of `warmblk.caFile`.
    public var caFile: String?
    /// The client's certificate for it, instead of `certConfig`.
    public var certFile: String?
    /// Its key.
    public var keyFile: String?
    /// Whether it may send from https to http.
    public var allowPlainRedirects: Bool?
  }

  /// `warmblk`: what overlaybd has no words for.
  public struct Own: Equatable, Sendable, Codable {
    /// Seconds that a read of a remote layer may take: 30.
    public var ioTimeout: Int64?
    /// What becomes of it then: `fail`, or `wait` for a registry that will be back.
    public var onTimeout: String?
    /// A file of certificates that registries' must be signed by, instead of the system's.
    public var caFile: String?
    /// An HTTP proxy; empty for none, absent for what the environment says.
    public var proxy: String?
    /// Docker's configuration, instead of the user's own.
    public var dockerConfig: String?
    /// What all devices of the node may prefetch together, MB/s; absent for as much as comes.
    public var prefetchMBps: Int64?
    /// By `host` or `host:port`, as the image's `repoBlobUrl` has it.
    public var hosts: [String: Host]?
  }

  /// `v1` or `v2`: upstream's registry clients.
  public var registryFsVersion: String?
  /// 0 psync, 1 libaio, 2 posix aio.
  public var ioEngine: UInt32?
  /// A thread per TCMU device.
  public var enableThread: Bool?
  /// Threads of the work pool, the successor of `enableThread`.
  public var workpoolSize: UInt32?
  /// Whether an audit log is written.
  public var enableAudit: Bool?
  /// The audit log's file.
  public var auditPath: String?
  /// The log, used when its path is set.
  public var logConfig: Log?
  /// Older form of `logConfig.logLevel`.
  public var logLevel: Int64?
  /// Older form of `logConfig.logPath`.
  public var logPath: String?
  /// The cache of remote blobs.
  public var cacheConfig: Cache?
  /// Older form of `cacheConfig.cacheType`.
  public var cacheType: String?
  /// Older form of `cacheConfig.cacheDir`.
  public var registryCacheDir: String?
  /// Older form of `cacheConfig.cacheSizeGB`.
  public var registryCacheSizeGB: UInt32?
  /// The cache of decompressed turboOCI targets.
  public var gzipCacheConfig: GzipCache?
  /// Where registry credentials come from.
  public var credentialConfig: Credential?
  /// Older form of `credentialConfig` with mode `file`.
  public var credentialFilePath: String?
  /// Background download, for images that do not say themselves.
  public var download: ImageConfig.Download?
  /// A peer-to-peer proxy.
  public var p2pConfig: Endpoint?
  /// Metrics.
  public var exporterConfig: Exporter?
  /// Replay of traces.
  public var prefetchConfig: Prefetch?
  /// The registry client's certificate.
  public var certConfig: Certificate?
  /// The registry client's `User-Agent`.
  public var userAgent: String?
  /// The API for live snapshots.
  public var serviceConfig: Endpoint?
  /// What only this program knows.
  public var warmblk: Own?
}
