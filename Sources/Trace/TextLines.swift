/// The lines of a text, without copying them. They end with `\n`, the last one may not; a `\r` before it is space.
struct TextLines {
  private var rest: UnsafeRawBufferPointer
  private var number = 0

  init(_ text: UnsafeRawBufferPointer) { rest = text }

  /// The next line; nil at the end.
  mutating func next() -> TextLine? {
    if rest.isEmpty { return nil }
    number += 1
    let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.count
    let line = UnsafeRawBufferPointer(rebasing: rest[..<end])
    rest = UnsafeRawBufferPointer(rebasing: rest[min(end + 1, rest.count)...])
    return TextLine(bytes: line, number: number)
  }
}

/// A line, and its words one after the other.
struct TextLine {
  let bytes: UnsafeRawBufferPointer
  /// Counted from 1.
  let number: Int
  private var position = 0

  init(bytes: UnsafeRawBufferPointer, number: Int) {
    self.bytes = bytes
    self.number = number
  }

  /// The next word: what has no space in it. nil at the end.
  mutating func word() -> UnsafeRawBufferPointer? {
    while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
    if position == bytes.count { return nil }
    let start = position
    while position < bytes.count, !Self.isSpace(bytes[position]) { position += 1 }
    return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
  }

  /// The next word as a number; nil when there is none or it is no number of at most 64 bits.
  mutating func decimal() -> UInt64? { word()?.decimal }

  /// An error that names the line.
  func bad(_ problem: String) -> TraceError { .badLine(number: number, problem: problem) }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
  }
}

extension UnsafeRawBufferPointer {
  /// A number of decimal digits and nothing else; nil for what has more than 64 bits.
  var decimal: UInt64? {
    if isEmpty { return nil }
    var value: UInt64 = 0
    for byte in self {
      let digit = byte &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      let (tens, tooMany) = value.multipliedReportingOverflow(by: 10)
      let (sum, tooMuch) = tens.addingReportingOverflow(UInt64(digit))
      if tooMany || tooMuch { return nil }
      value = sum
    }
    return value
  }

  /// As text for a message: its beginning, without what a terminal would take for a command.
  var excerpt: String {
    let shown = String(decoding: prefix(60), as: UTF8.self).unicodeScalars.map {
      $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) ? "?" : String($0)
    }
    return shown.joined() + (count > 60 ? "…" : "")
  }

  /// Whether it is this text.
  func isText(_ text: StaticString) -> Bool {
    text.withUTF8Buffer { count == $0.count && elementsEqual($0) }
  }
}
