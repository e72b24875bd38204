import Crypto

/// A sha256 that is fed piece by piece.
public struct BlobHash {
  private var hash = SHA256()

  /// Of nothing yet.
  public init() {}

  /// Adds `bytes`.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) { hash.update(bufferPointer: bytes) }

  /// 64 lower-case hexadecimal digits: what an OCI digest has after `sha256:`.
  public func hexadecimal() -> String {
    hash.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
