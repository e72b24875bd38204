import Posix

/// overlaybd's `resultFile`: `success` or `failed:<reason>`, no newline. Its snapshotter shows the text to the user
/// when a device does not come up.
public struct ResultFile: Sendable {
  /// Where it is written.
  public let path: String

  /// Names the file.
  public init(path: String) { self.path = path }

  /// The file's content: nil is success. A reason is one line.
  public static func content(failure: String?) -> [UInt8] {
    guard let failure else { return Array("success".utf8) }
    return Array("failed:".utf8) + failure.utf8.map { $0 < 32 ? 32 : $0 }
  }

  /// Replaces the file's content.
  public func write(failure: String?) throws(HostError) {
    try HostError.describing("write the resultFile \(path)") { () throws(Errno) in
      try writeInPlace(path, Self.content(failure: failure))
    }
  }
}
