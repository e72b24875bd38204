import Device
import Image
import Posix
import Ublk
import UpperLayer

/// Why a command about devices of this machine failed.
public enum HostError: Error, CustomStringConvertible {
  /// A call of the operating system failed. `what` is what was tried, on what.
  case system(what: String, Errno)
  /// The image cannot be opened.
  case image(ImageError)
  /// The writable layer cannot be opened.
  case upper(UpperError)
  /// The device cannot be made or taken down.
  case device(DeviceError)
  /// The driver refused.
  case ublk(UblkError)
  /// A file of the run directory is not what it should be.
  case badState(path: String, problem: String)
  /// Something else, said in full: what was wanted, what was found, what to do.
  case refused(String)

  /// What was tried, on what, what was found, what to do.
  public var description: String {
    switch self {
    case .system(let what, let error): "\(what): \(error)"
    case .image(let error): error.description
    case .upper(let error): error.description
    case .device(let error): error.description
    case .ublk(let error): error.description
    case .badState(let path, let problem): "\(path): \(problem)"
    case .refused(let message): message
    }
  }

  /// Calls `body` and says what was tried if it fails.
  static func describing<R: ~Copyable>(
    _ what: @autoclosure () -> String, _ body: () throws(Errno) -> R
  ) throws(HostError) -> R {
    do { return try body() } catch { throw .system(what: what(), error) }
  }
}
