/// A list of files and directories, as people and overlaybd's images have it: text, a path on each line.
///
/// A path may have any byte but the line's end and zero, spaces at its ends included; without a slash in front it counts from the root too.
/// One that ends with `/` or with `/*` is a directory with all that is in it. Empty lines are passed over, and lines that begin
/// with `#`: a file of that name is written `/#name`.
public struct FileList: Equatable, Sendable {
  /// A line.
  public struct Entry: Equatable, Sendable {
    /// From 1; nil for what was not in a file.
    public let line: Int?
    /// As it is written.
    public let path: [UInt8]

    /// An entry that stands for itself.
    public init(path: [UInt8], line: Int? = nil) {
      self.path = path
      self.line = line
    }

    /// Whether all that is in the directory is meant.
    var isTree: Bool { path.last == UInt8(ascii: "/") || path.suffix(2).elementsEqual("/*".utf8) }

    /// Without the mark of a tree.
    var target: [UInt8] { path.suffix(2).elementsEqual("/*".utf8) ? path.dropLast() : path }
  }

  /// In the order of the list.
  public let entries: [Entry]

  /// Bytes of a list.
  public static let limit = 256 << 20

  /// Parses a whole list; any bytes are one.
  ///
  /// - Throws: `listTooLong`.
  public init(parsing bytes: [UInt8]) throws(FileSystemError) {
    guard bytes.count <= Self.limit else { throw .listTooLong(limit: Self.limit) }
    var entries: [Entry] = []
    var start = 0
    var line = 1
    while start < bytes.count {
      let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
      if end > start, bytes[start] != UInt8(ascii: "#") {
        entries.append(Entry(path: Array(bytes[start..<end]), line: line))
      }
      start = end + 1
      line += 1
    }
    self.entries = entries
  }

  /// A path as it can be printed: bytes that a terminal would obey, or that are no text, as `\xNN`.
  public static func shown(_ path: some Sequence<UInt8>) -> String {
    let bytes = Array(path)
    let text = String(validating: bytes, as: UTF8.self)
    let isPlain = text?.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F..<0xA0).contains($0.value) } ?? false
    if isPlain, let text { return text }
    return bytes.reduce(into: "") { result, byte in
      if (0x20..<0x7F).contains(byte) {
        result.unicodeScalars.append(UnicodeScalar(byte))
      } else {
        result += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }
  }
}
