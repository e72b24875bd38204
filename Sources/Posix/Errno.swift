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

  /// `EINVAL`
  public static let invalidArgument = Errno(rawValue: EINVAL)
  /// `EIO`
  public static let ioError = Errno(rawValue: EIO)
  /// `ENOENT`
  public static let noEntry = Errno(rawValue: ENOENT)
  /// `EEXIST`
  public static let exists = Errno(rawValue: EEXIST)
  /// `EBUSY`
  public static let busy = Errno(rawValue: EBUSY)
  /// `ESRCH`
  public static let noProcess = Errno(rawValue: ESRCH)
  /// `EINTR`
  public static let interrupted = Errno(rawValue: EINTR)
  /// `EAGAIN`
  public static let again = Errno(rawValue: EAGAIN)
  /// `ESTALE`
  public static let stale = Errno(rawValue: ESTALE)
  /// `EPERM`
  public static let permission = Errno(rawValue: EPERM)
  /// `EACCES`
  public static let access = Errno(rawValue: EACCES)
  /// `EOPNOTSUPP`
  public static let notSupported = Errno(rawValue: EOPNOTSUPP)
  /// `ENODEV`
  public static let noDevice = Errno(rawValue: ENODEV)
  /// `ENOSPC`
  public static let noSpace = Errno(rawValue: ENOSPC)
  /// `EDQUOT`
  public static let quota = Errno(rawValue: EDQUOT)
  /// `ETIMEDOUT`
  public static let timedOut = Errno(rawValue: ETIMEDOUT)
  /// `ETIME`
  public static let timeExpired = Errno(rawValue: ETIME)
  /// `EPIPE`
  public static let brokenPipe = Errno(rawValue: EPIPE)
  /// `ECANCELED`
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
