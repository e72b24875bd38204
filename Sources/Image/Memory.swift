import Glibc

/// Whether all bytes are zero.
func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
  guard let base = bytes.baseAddress, bytes.count > 0 else { return true }
  // Zero at the front, and everything equal to its neighbour: the C library compares many bytes at a time.
  return bytes[0] == 0 && memcmp(base, base + 1, bytes.count - 1) == 0
}

/// Whether two ranges of the same length hold the same.
func isEqual(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
  guard let first = a.baseAddress, let second = b.baseAddress else { return a.count == b.count }
  return a.count == b.count && memcmp(first, second, a.count) == 0
}

extension UnsafeRawBufferPointer {
  /// The bytes of `range`.
  func part(_ range: Range<Int>) -> UnsafeRawBufferPointer { .init(rebasing: self[range]) }
}

/// How far a long piece of work has come.
public struct Progress: Equatable, Sendable {
  /// Bytes done.
  public let done: UInt64
  /// Bytes to do; nil when the source is a stream.
  public let total: UInt64?

  /// Both.
  public init(done: UInt64, total: UInt64?) {
    self.done = done
    self.total = total
  }
}
