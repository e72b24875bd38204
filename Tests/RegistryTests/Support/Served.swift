import Posix
import TestRegistry

@testable import Registry

/// A registry with one blob.
struct Served {
  let registry: TestRegistry
  let bytes: [UInt8]
  let blob: BlobLocation

  init(_ count: Int = 100_000, host: String = "127.0.0.1") throws {
    registry = try TestRegistry(host: host)
    bytes = makeBlob(count)
    blob = BlobLocation(repoBlobURL: registry.repoBlobURL(), digest: digest(1))
    registry.add(blob.digest, bytes)
  }

  /// Whether an outcome is these bytes of the blob.
  func isRight(_ outcome: Harness.Outcome) -> Bool {
    guard let range = outcome.success?.range, range.upperBound <= bytes.count else { return false }
    return outcome.bytes == Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)])
  }
}
