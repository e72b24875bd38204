/// What a server that starts in the background says to the command that waits for it, one line each.
enum StartMessage: Equatable {
  /// Something to know, not an obstacle.
  case warning(String)
  /// Something to know that is as it should be.
  case note(String)
  /// So many bytes of so many are at hand; also said when nothing changed, as a sign of life.
  case progress(done: UInt64, total: UInt64)
  /// All of these are; so many bytes of so many are in the page cache.
  case filling(done: UInt64, total: UInt64)
  /// What is at hand now that nobody waits any longer.
  case warmed(String)
  /// The device can be used.
  case ready(UInt32)
  /// It cannot; the server has cleaned up and ends.
  case failed(String)

  /// The line, with its newline.
  var line: String {
    switch self {
    case .warning(let text): "warning \(Self.flat(text))\n"
    case .note(let text): "note \(Self.flat(text))\n"
    case .progress(let done, let total): "progress \(done) \(total)\n"
    case .filling(let done, let total): "filling \(done) \(total)\n"
    case .warmed(let text): "warmed \(Self.flat(text))\n"
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
    case "note": self = .note(text)
    case "progress", "filling":
      let numbers = text.split(separator: " ")
      guard numbers.count == 2, let done = UInt64(numbers[0]), let total = UInt64(numbers[1]) else { return nil }
      self = line[..<blank] == "filling" ? .filling(done: done, total: total) : .progress(done: done, total: total)
    case "warmed": self = .warmed(text)
    case "failed": self = .failed(text)
    case "ready":
      guard let id = UInt32(text) else { return nil }
      self = .ready(id)
    default: return nil
    }
  }

  private static func flat(_ text: String) -> String { String(text.map { $0.isNewline ? " " : $0 }) }
}
