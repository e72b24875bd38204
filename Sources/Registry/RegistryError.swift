import Posix

/// Why bytes of a blob could not be had from a registry.
public indirect enum RegistryError: Error, Equatable, Sendable {
  /// libcurl cannot be used.
  case library(problem: String)
  /// A thread could not be started.
  case thread(Errno)
  /// A field of ``RegistrySettings``.
  case settings(field: String, problem: String)
  /// Neither a URL nor a digest that could be asked for.
  case invalidBlob(BlobLocation, problem: String)
  /// A range that no blob has.
  case invalidRange(FetchRange, room: Int)

  /// The host's name has no address.
  case name(Place, curl: String)
  /// No connection.
  case connection(Place, curl: String)
  /// The server's certificate is not one to believe, or files of ours for TLS cannot be used.
  case certificate(Place, curl: String)
  /// A limit of ``RegistrySettings/Limits``; `milliseconds` is how long it is.
  case timeout(Place, Phase, milliseconds: Int)
  /// The transfer broke off or was not HTTP.
  case transfer(Place, curl: String)
  /// The answer ended after `got` of `wanted` bytes.
  case shortBody(Place, wanted: UInt64, got: UInt64)
  /// The host failed so often in a row that it is left alone for a while.
  case resting(Place, failures: Int, milliseconds: Int)

  /// 401, with `credentials`: which source they were from.
  case unauthorized(Place, credentials: String)
  /// 403, with `credentials`: which source they were from.
  case forbidden(Place, credentials: String)
  /// 404.
  case notFound(Place)
  /// Another status that is not an answer. `retryAfter` in milliseconds, when the server said it.
  case status(Place, Int, retryAfter: Int?)
  /// 200 with the whole blob, too far from its beginning to be of use.
  case rangeIgnored(Place, offset: UInt64, totalSize: UInt64?)
  /// `Content-Range` is missing or is not what was asked for.
  case wrongRange(Place, asked: String, got: String?)
  /// The range is not wholly in the blob.
  case outsideBlob(Place, asked: String, totalSize: UInt64?)
  /// The blob has another size than it had, or should have.
  case sizeChanged(Place, expected: UInt64, got: UInt64)
  /// `Content-Encoding`, although none was asked for.
  case encoded(Place, encoding: String)
  /// Several ranges in one answer, although one was asked for.
  case multipart(Place)
  /// A redirect that is not followed.
  case redirect(Place, problem: String)
  /// The token server, at `realm`.
  case token(Place, realm: String, problem: String, isRetryable: Bool)
  /// A source of credentials could not be used.
  case credentials(Place, source: String, problem: String)

  /// The time was over. `last` is what went wrong before; nil when nothing had.
  case deadline(Place, last: RegistryError?)
  /// ``RegistryClient/cancel(_:)`` or ``NetworkLoop/stop()``.
  case cancelled

  /// What was asked of whom.
  public struct Place: Equatable, Sendable {
    /// The blob's digest.
    public var blob: String
    /// `host:port`.
    public var host: String
    /// Without the query of a signed URL, which is a secret.
    public var url: String

    /// All fields.
    public init(blob: String, host: String, url: String) {
      self.blob = blob
      self.host = host
      self.url = url
    }
  }

  /// What a limit is for.
  public enum Phase: String, Equatable, Sendable {
    /// Name, connection, TLS.
    case connecting = "connecting"
    /// From the request to the head of the answer.
    case firstByte = "waiting for the first byte"
    /// The body, too slow.
    case stalled = "receiving the body"
  }
}

extension RegistryError {
  /// Whether the same fetch may succeed a little later with nothing done about it.
  public var isRetryable: Bool {
    switch self {
    case .name, .connection, .timeout, .transfer, .shortBody, .resting, .wrongRange, .encoded, .multipart, .credentials:
      true
    case .status(_, let code, _): code == 408 || code == 425 || code == 429 || code >= 500
    case .token(_, _, _, let isRetryable): isRetryable
    case .deadline(_, let last): last?.isRetryable ?? true
    case .library, .thread, .settings, .invalidBlob, .invalidRange, .certificate, .unauthorized, .forbidden, .notFound,
      .rangeIgnored, .outsideBlob, .sizeChanged, .redirect, .cancelled:
      false
    }
  }

  /// Whether nothing that anybody does on a server or to a file can let the same fetch succeed.
  var isFinal: Bool {
    switch self {
    case .library, .thread, .settings, .invalidBlob, .invalidRange, .outsideBlob, .cancelled, .deadline: true
    default: false
    }
  }

  /// What was asked of whom, if it came to that.
  public var place: Place? {
    switch self {
    case .library, .thread, .settings, .invalidBlob, .invalidRange, .cancelled: nil
    case .name(let place, _), .connection(let place, _), .certificate(let place, _), .timeout(let place, _, _),
      .transfer(let place, _), .shortBody(let place, _, _), .resting(let place, _, _), .unauthorized(let place, _),
      .forbidden(let place, _), .notFound(let place), .status(let place, _, _), .rangeIgnored(let place, _, _),
      .wrongRange(let place, _, _), .outsideBlob(let place, _, _), .sizeChanged(let place, _, _),
      .encoded(let place, _), .multipart(let place), .redirect(let place, _), .token(let place, _, _, _),
      .credentials(let place, _, _), .deadline(let place, _):
      place
    }
  }
}
