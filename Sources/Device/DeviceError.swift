import Posix
import Ublk
import UpperLayer

/// Why a device could not be started or stopped.
public enum DeviceError: Error, CustomStringConvertible {
  /// The driver refused, or did not answer.
  case ublk(UblkError)
  /// A call of the operating system failed. `what` is what was tried, on what.
  case system(what: String, Errno)
  /// A wait came to its end.
  case timedOut(what: String)
  /// The writable layer cannot be changed.
  case upper(UpperError)
  /// An option is out of range.
  case invalidOption(String)

  /// What was tried, on what, what came of it, and what to do.
  public var description: String {
    switch self {
    case .ublk(let error): error.description
    case .system(let what, let error): "\(what): \(error)"
    case .timedOut(let what): what
    case .upper(let error): error.description
    case .invalidOption(let message): message
    }
  }

  /// Calls `body` and says what was tried if it fails.
  static func describing<R: ~Copyable>(_ what: @autoclosure () -> String, _ body: () throws(Errno) -> R)
    throws(DeviceError)
    -> R
  {
    do { return try body() } catch { throw .system(what: what(), error) }
  }

  /// Calls the driver.
  static func driver<R: ~Copyable>(_ body: () throws(UblkError) -> R) throws(DeviceError) -> R {
    do { return try body() } catch { throw .ublk(error) }
  }
}
