import FoundationEssentials
import Posix

/// What a server says of itself in a file of its own, for looking at only: neither a file that is not there nor one that
/// cannot be written is a reason for anything to fail.
protocol StatusFile: Codable {}

extension StatusFile {
  /// Reads the file at `path`; nil where there is none, or it is damaged.
  static func read(_ path: String) -> Self? {
    guard let bytes = try? readFile(path, limit: 1 << 16) else { return nil }
    return try? JSONDecoder().decode(Self.self, from: Data(bytes))
  }

  /// Replaces the file at `path`.
  func write(_ path: String) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let bytes = try? [UInt8](encoder.encode(self)) else { return }
    try? writeFileAtomically(path, bytes + [UInt8(ascii: "\n")])
  }
}
