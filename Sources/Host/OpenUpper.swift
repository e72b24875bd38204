import Posix
import UpperLayer

/// The writable layer of a device, and where it is.
struct OpenUpper {
  let upper: Upper
  let files: UpperFiles

  /// What the server still looks at once it is open.
  var paths: [String] { [files.data, files.index] }
  /// As the state file has it.
  var state: DeviceState.Upper { DeviceState.Upper(data: files.data, index: files.index) }
}

extension Errno {
  /// Whether there is no room: on the file system, or for its user.
  var isFull: Bool { self == .noSpace || self == .quota }
}
