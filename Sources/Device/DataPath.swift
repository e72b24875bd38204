/// How data gets into a device's requests.
public enum DataPath: String, Sendable, Codable {
  /// Everything is put together in a buffer, and the driver copies it with the answer.
  case copy
  /// What the page cache has of an uncompressed layer is written from there to `/dev/ublkcN`, everything else from a
  /// buffer.
  case userCopy = "user-copy"
  /// Uncompressed layers are read straight into the request's pages, everything else is written to `/dev/ublkcN`.
  case zeroCopy = "zero-copy"

  @inline(__always)
  var isUserCopy: Bool {
    switch self {
    case .userCopy: true
    case .copy, .zeroCopy: false
    }
  }

  @inline(__always)
  var isZeroCopy: Bool {
    switch self {
    case .zeroCopy: true
    case .copy, .userCopy: false
    }
  }

  /// Whether buffers are written to `/dev/ublkcN`.
  @inline(__always)
  var copiesOut: Bool {
    switch self {
    case .copy: false
    case .userCopy, .zeroCopy: true
    }
  }
}
