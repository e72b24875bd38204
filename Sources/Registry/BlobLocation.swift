/// Where a blob is: `repoBlobURL` and `digest` as an image's configuration has them.
public struct BlobLocation: Hashable, Sendable {
  /// `https://host/v2/<repo>/blobs`, with or without `/` at the end.
  public var repoBlobURL: String
  /// `sha256:` and 64 hexadecimal digits, lower case.
  public var digest: String

  /// Nothing is checked yet: a fetch of a location that cannot be one fails at once.
  public init(repoBlobURL: String, digest: String) {
    self.repoBlobURL = repoBlobURL
    self.digest = digest
  }

  /// Whether `digest` is `sha256:` and 64 lower-case hexadecimal digits: it becomes part of URLs and of file names.
  public static func isDigest(_ digest: String) -> Bool {
    let bytes = digest.utf8
    guard bytes.count == 71, digest.hasPrefix("sha256:") else { return false }
    return bytes.dropFirst(7).allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  /// The blob's URL, as upstream builds it.
  var url: String { repoBlobURL.hasSuffix("/") ? repoBlobURL + digest : "\(repoBlobURL)/\(digest)" }
}

/// Which bytes of a blob.
public enum FetchRange: Equatable, Sendable {
  /// These; an empty range is refused.
  case bytes(Range<UInt64>)
  /// The last ones, for a blob whose size is not known. Fewer when the blob is shorter.
  case suffix(Int)

  /// Bytes that the buffer must have room for.
  public var count: Int {
    switch self {
    case .bytes(let range): Int(exactly: range.upperBound - range.lowerBound) ?? Int.max
    case .suffix(let count): count
    }
  }
}

/// What a fetch got.
public struct FetchResult: Equatable, Sendable {
  /// The bytes of the blob that are in the buffer, from its beginning.
  public var range: Range<UInt64>
  /// The size of the blob, when the server said it.
  public var totalSize: UInt64?
  /// Who sent the bytes: `host:port` of the last answer.
  public var host: String
  /// From the start of the last attempt to its first byte.
  public var firstByteMicroseconds: Int
  /// From the call of ``RegistryClient/fetch(_:_:into:deadline:progress:completion:)``.
  public var microseconds: Int
  /// Attempts that it took: 1 when nothing failed. Redirects and questions for credentials do not count.
  public var attempts: Int

  /// All fields.
  public init(
    range: Range<UInt64>, totalSize: UInt64?, host: String, firstByteMicroseconds: Int, microseconds: Int, attempts: Int
  ) {
    self.range = range
    self.totalSize = totalSize
    self.host = host
    self.firstByteMicroseconds = firstByteMicroseconds
    self.microseconds = microseconds
    self.attempts = attempts
  }
}

/// Names a running fetch.
public struct FetchHandle: Hashable, Sendable {
  let number: UInt64
}
