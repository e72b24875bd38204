import Posix

/// Where a registry keeps a blob: itself, or behind a redirect that holds for a while.
struct Resolution {
  /// nil: the registry itself.
  var target: WebAddress?
  /// Nanoseconds of the monotonic clock.
  var expires: UInt64
}

/// Resolutions and sizes of blobs, as far as they are known. Of the loop's thread.
struct BlobMemory {
  private var resolutions: [String: Resolution] = [:]
  private var absences: [String: UInt64] = [:]
  private var sizes: [String: UInt64] = [:]

  /// Blobs of which something is kept; beyond that all is forgotten, which costs some requests.
  private static let countLimit = 8192
  /// Seconds for which a mirror without a blob is not asked for it again.
  private static let absence: UInt64 = 60

  /// By the URL at the registry or mirror.
  func resolution(_ url: String) -> Resolution? {
    guard let found = resolutions[url], monotonicNanoseconds() < found.expires else { return nil }
    return found
  }

  /// `seconds` from now.
  mutating func resolve(_ url: String, to target: WebAddress?, seconds: UInt64) {
    if resolutions.count >= Self.countLimit { resolutions = [:] }
    resolutions[url] = Resolution(target: target, expires: monotonicNanoseconds() + seconds * 1_000_000_000)
  }

  mutating func unresolve(_ url: String) { resolutions[url] = nil }

  /// Whether the mirror said lately that it has no such blob, or does not let us have it.
  func isAbsent(_ url: String) -> Bool { absences[url].map { monotonicNanoseconds() < $0 } ?? false }

  mutating func noteAbsence(_ url: String) {
    if absences.count >= Self.countLimit { absences = [:] }
    absences[url] = monotonicNanoseconds() + Self.absence * 1_000_000_000
  }

  /// By the digest.
  func size(_ digest: String) -> UInt64? { sizes[digest] }

  mutating func noteSize(_ size: UInt64, _ digest: String) {
    if sizes.count >= Self.countLimit { sizes = [:] }
    sizes[digest] = size
  }
}
