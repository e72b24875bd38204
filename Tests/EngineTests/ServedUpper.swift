import Posix
import UpperLayer

/// What a kernel in memory calls of a writable layer.
protocol ServedUpper: AnyObject {
  func write(_ pieces: UnsafeBufferPointer<UpperWrite>, mayWait: Bool) throws(Errno)
  func zero(sector: UInt64, sectors: UInt64, keepsSpace: Bool) throws(Errno)
  func flush() throws(Errno)
  /// Whether something was injected into it that makes its calls fail.
  var isHurt: Bool { get }
  /// Whether a write that failed may be there in part.
  var leavesParts: Bool { get }
}

extension Upper: ServedUpper {
  var isHurt: Bool { false }
  var leavesParts: Bool { kind == .sparse }
}
