import Glibc
import Posix

/// The files by which overlaybd's recording is ended and awaited, beside the trace `T`: `T.lock`, which the recorder
/// makes and whoever wants the trace removes, and `T.ok`, which the recorder makes when `T` is whole.
final class LockFile {
  /// Milliseconds between two looks. overlaybd looks once a second.
  private static let interval: UInt64 = 200

  private let lockName: String
  private let okName: String
  private var nextLook: UInt64 = 0

  /// Makes `T.lock` for the trace `name`; one that a killed recorder has left is as good. Removes a `T.ok` from
  /// before, which would say that this trace is whole.
  init(_ name: String, in folder: TraceFolder) throws(Errno) {
    lockName = "\(name).lock"
    okName = "\(name).ok"
    folder.remove(okName)
    do throws(Errno) { try folder.create(lockName, mode: 0o666) } catch { if error != .exists { throw error } }
  }

  /// Whether somebody has removed `T.lock`.
  func isGone(_ folder: TraceFolder) -> Bool {
    let now = monotonicNanoseconds()
    if now < nextLook { return false }
    nextLook = now + Self.interval * 1_000_000
    return folder.status(lockName) == nil
  }

  /// `T` is whole and durable: removes `T.lock`, makes `T.ok`.
  func end(_ folder: TraceFolder) throws(HostError) {
    folder.remove(lockName)
    let okName = okName
    try HostError.describing("make \(okName), which says that the trace is whole") { () throws(Errno) in
      try folder.create(okName, mode: 0o666)
      try folder.synchronize()
    }
  }

  /// There is no trace: removes `T.lock`.
  func abandon(_ folder: TraceFolder) { folder.remove(lockName) }
}
