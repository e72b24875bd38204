import CLinux
import Glibc

/// A Linux error number.
public struct Errno: Error, Equatable, Hashable, Sendable, RawRepresentable {
  /// The number, positive: `ENOENT` is 2.
  public let rawValue: Int32

  /// Wraps a positive error number.
  @inlinable public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The calling thread's `errno`. Read it before anything else can change it.
  public static var last: Errno { Errno(rawValue: Glibc.errno) }

  public static let invalidArgument = Errno(rawValue: EINVAL)
  public static let ioError = Errno(rawValue: EIO)
  public static let noEntry = Errno(rawValue: ENOENT)
  public static let exists = Errno(rawValue: EEXIST)
  public static let busy = Errno(rawValue: EBUSY)
  public static let interrupted = Errno(rawValue: EINTR)
  public static let again = Errno(rawValue: EAGAIN)
  public static let permission = Errno(rawValue: EPERM)
  public static let access = Errno(rawValue: EACCES)
  public static let notSupported = Errno(rawValue: EOPNOTSUPP)
  public static let noDevice = Errno(rawValue: ENODEV)
  public static let timedOut = Errno(rawValue: ETIMEDOUT)
  public static let timeExpired = Errno(rawValue: ETIME)
  public static let canceled = Errno(rawValue: ECANCELED)
}

extension Errno: CustomStringConvertible {
  /// glibc's text with the symbolic name, as in `No such file or directory (ENOENT)`.
  public var description: String {
    let text = String(cString: strerror(rawValue))
    guard let name = clinux_errno_name(rawValue) else { return text }
    return "\(text) (\(String(cString: name)))"
  }
}

/// Repeats a call that returns -1 with `EINTR` until it does something else.
@inlinable
public func retryingInterrupts<T: SignedInteger>(_ body: () -> T) throws(Errno) -> T {
  while true {
    let result = body()
    if result != -1 { return result }
    let error = Errno.last
    if error != .interrupted { throw error }
  }
}
