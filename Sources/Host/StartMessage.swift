/// What a server that starts in the background says to the command that waits for it, one line each.
enum StartMessage: Equatable {
  /// Something to know, not an obstacle.
  case warning(String)
  /// The device can be used.
  case ready(UInt32)
  /// It cannot; the server has cleaned up and ends.
  case failed(String)

  /// The line, with its newline.
  var line: String {
    switch self {
    case .warning(let text): "warning \(Self.flat(text))\n"
    case .ready(let id): "ready \(id)\n"
    case .failed(let text): "failed \(Self.flat(text))\n"
    }
  }

  /// Parses a line without its newline; nil when it is none of ours, as when something else wrote to the pipe.
  init?(parsing line: String) {
    guard let blank = line.firstIndex(of: " ") else { return nil }
    let text = String(line[line.index(after: blank)...])
    switch line[..<blank] {
    case "warning": self = .warning(text)
    case "failed": self = .failed(text)
    case "ready":
      guard let id = UInt32(text) else { return nil }
      self = .ready(id)
    default: return nil
    }
  }

  private static func flat(_ text: String) -> String { String(text.map { $0.isNewline ? " " : $0 }) }
}
