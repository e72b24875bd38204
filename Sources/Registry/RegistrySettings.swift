/// How registries are spoken to.
public struct RegistrySettings: Equatable, Sendable {
  /// Where credentials come from; the first source that has some for a blob is used.
  public var credentials: [CredentialSource] = []
  /// By `host:port` or `host` as the URL has it.
  public var hosts: [String: Host] = [:]
  /// A file of PEM certificates that servers' certificates must be signed by; nil: the system's.
  public var caFile: String?
  /// Shown to registries, mirrors and their token servers that ask for one, never to the target of a redirect.
  public var clientCertificate: ClientCertificate?
  /// Upstream's `p2pConfig.address`: data is asked for at `<peerPrefix>/<URL>`, and at the URL itself when the peer fails.
  public var peerPrefix: String?
  /// An HTTP proxy for everything; when it is away, servers are asked directly. nil: `http_proxy` and its like, as
  /// curl reads them; `""`: none.
  public var proxy: String?
  /// `User-Agent`.
  public var userAgent = "warmblk"
  /// Times and amounts.
  public var limits = Limits()
  /// Requests that may be under way to one host at the same time, and with them connections.
  public var connectionsPerHost = 48

  /// No credentials, the system's certificates, curl's view of the environment.
  public init() {}

  /// What is particular about one host.
  public struct Host: Equatable, Sendable {
    /// Asked before the host, in order: `https://mirror.example:5000`, perhaps with a path. They replace scheme, host
    /// and port of the blob's URL.
    public var mirrors: [String] = []
    /// Whoever answers is believed. Only for registries on networks that are trusted as a whole.
    public var skipTLSVerify = false
    /// Instead of ``RegistrySettings/caFile``.
    public var caFile: String?
    /// Instead of ``RegistrySettings/clientCertificate``.
    public var clientCertificate: ClientCertificate?
    /// Whether the host may send from https to http: refused otherwise.
    public var allowPlainRedirects = false

    /// Nothing in particular.
    public init() {}
  }

  /// Times and amounts. Every attempt ends within `connect + firstByte` plus, for each stall, `stallSeconds`.
  public struct Limits: Equatable, Sendable {
    /// Milliseconds for the name, the connection and its TLS.
    public var connect = 5_000
    /// Milliseconds from the request to the head of its answer.
    public var firstByte = 10_000
    /// An attempt ends when it got less than `stallBytesPerSecond` for so many seconds.
    public var stallSeconds = 5
    /// See `stallSeconds`.
    public var stallBytesPerSecond = 1_024
    /// Milliseconds before the first retry; doubles up to `retryDelayMax`. Of each delay a random half is taken away.
    public var retryDelay = 100
    /// Milliseconds.
    public var retryDelayMax = 5_000
    /// Retries of one host at once; then `retriesPerSecond`, so that a host in trouble is not asked more than it was.
    public var retryBurst = 20
    /// See `retryBurst`.
    public var retriesPerSecond = 5
    /// Failures in a row, without any answer in between, after which a host is left alone for a while.
    public var breakerFailures = 5
    /// Milliseconds of the first such while; doubles up to `breakerDelayMax`. Then one request tries.
    public var breakerDelay = 500
    /// Milliseconds.
    public var breakerDelayMax = 5_000
    /// Milliseconds of a `Retry-After` at most.
    public var retryAfterMax = 300_000
    /// Milliseconds for a token or an answer of a credential source.
    public var token = 10_000
    /// Bytes that are thrown away at most to get at a range when a server sends the whole blob.
    public var skippedBytes: UInt64 = 4 << 20

    /// What the fields say.
    public init() {}
  }
}

/// A certificate with its key, both PEM.
public struct ClientCertificate: Equatable, Sendable {
  /// The certificate's file.
  public var certificateFile: String
  /// The key's; nil when it is in the certificate's.
  public var keyFile: String?

  /// Both files.
  public init(certificateFile: String, keyFile: String? = nil) {
    self.certificateFile = certificateFile
    self.keyFile = keyFile
  }
}

/// Where credentials come from.
public enum CredentialSource: Equatable, Sendable {
  /// Docker's `config.json`: `auths`, `credsStore`, `credHelpers`. A file that is not there has none.
  case docker(path: String)
  /// Upstream's `cred.json`. A file that is not there has none.
  case file(path: String)
  /// Upstream's modes http and https: asked for each token. `seconds` is the time it has.
  case http(url: String, seconds: Int, caFile: String?, clientCertificate: ClientCertificate?)
  /// Upstream's mode uds: the same over a socket at `path`.
  case unixSocket(path: String, seconds: Int)
}
