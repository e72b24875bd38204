/// A JSON value (RFC 8259) whose objects keep their order: in upstream's `cred.json` the first entry that fits counts.
public enum JSONValue: Equatable, Sendable {
  /// `null`.
  case null
  /// `true` or `false`.
  case boolean(Bool)
  /// As it is written.
  case number(String)
  /// Without quotes and escapes.
  case string(String)
  /// In the order of the file.
  case array([JSONValue])
  /// In the order of the file; a key may be there twice.
  case object([Member])

  /// A key of an object, and what it has.
  public struct Member: Equatable, Sendable {
    /// Without quotes and escapes.
    public var key: String
    /// Any value.
    public var value: JSONValue

    /// A member by its parts.
    public init(key: String, value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  /// Deeper ones are refused.
  static let depthLimit = 32

  /// nil when `bytes` are not one JSON value and nothing else.
  public init?(_ bytes: [UInt8]) {
    var parser = JSONParser(bytes: bytes)
    guard let value = parser.document() else { return nil }
    self = value
  }

  /// The first member of that name; nil also for what is no object.
  public subscript(key: String) -> JSONValue? { members?.first { $0.key == key }?.value }

  /// Of an object.
  public var members: [Member]? { if case .object(let members) = self { members } else { nil } }
  /// Of an array.
  public var elements: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
  /// Of a string.
  public var string: String? { if case .string(let text) = self { text } else { nil } }
  /// Of `true` and `false`.
  public var boolean: Bool? { if case .boolean(let value) = self { value } else { nil } }
  /// Of a number that is not negative; a fraction is cut off.
  public var integer: UInt64? {
    guard case .number(let text) = self else { return nil }
    if let value = UInt64(text) { return value }
    guard let value = Double(text), value >= 0, value < 9e15 else { return nil }
    return UInt64(value)
  }
}

private struct JSONParser {
  let bytes: [UInt8]
  private var index = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func document() -> JSONValue? {
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { index = 3 }
    guard let result = value(depth: 0) else { return nil }
    skipSpace()
    return index == bytes.count ? result : nil
  }

  private mutating func value(depth: Int) -> JSONValue? {
    skipSpace()
    guard depth < JSONValue.depthLimit, index < bytes.count else { return nil }
    switch bytes[index] {
    case UInt8(ascii: "{"): return object(depth)
    case UInt8(ascii: "["): return array(depth)
    case UInt8(ascii: "\""): return string().map { .string($0) }
    case UInt8(ascii: "t"): return word("true", .boolean(true))
    case UInt8(ascii: "f"): return word("false", .boolean(false))
    case UInt8(ascii: "n"): return word("null", .null)
    default: return number()
    }
  }

  private mutating func object(_ depth: Int) -> JSONValue? {
    var members: [JSONValue.Member] = []
    index += 1
    if skip("}") { return .object([]) }
    repeat {
      skipSpace()
      guard index < bytes.count, bytes[index] == UInt8(ascii: "\""), let key = string(), skip(":"),
        let value = value(depth: depth + 1)
      else { return nil }
      members.append(JSONValue.Member(key: key, value: value))
    } while skip(",")
    return skip("}") ? .object(members) : nil
  }

  private mutating func array(_ depth: Int) -> JSONValue? {
    var values: [JSONValue] = []
    index += 1
    if skip("]") { return .array([]) }
    repeat {
      guard let value = value(depth: depth + 1) else { return nil }
      values.append(value)
    } while skip(",")
    return skip("]") ? .array(values) : nil
  }

  private mutating func word(_ text: StaticString, _ value: JSONValue) -> JSONValue? {
    let isThere = text.withUTF8Buffer { bytes[index...].starts(with: $0) }
    guard isThere else { return nil }
    index += text.utf8CodeUnitCount
    return value
  }

  private mutating func number() -> JSONValue? {
    let start = index
    _ = take("-")
    guard let first = digits(), first.count == 1 || first.first != UInt8(ascii: "0") else { return nil }
    if take("."), digits() == nil { return nil }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      if digits() == nil { return nil }
    }
    return .number(String(decoding: bytes[start..<index], as: UTF8.self))
  }

  private mutating func digits() -> ArraySlice<UInt8>? {
    let start = index
    while index < bytes.count, (0x30...0x39).contains(bytes[index]) { index += 1 }
    return index == start ? nil : bytes[start..<index]
  }

  private mutating func string() -> String? {
    var text: [UInt8] = []
    index += 1
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      switch byte {
      case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let scalar = escape() else { return nil }
        text.append(contentsOf: Array(String(scalar).utf8))
      case 0..<0x20: return nil
      default: text.append(byte)
      }
    }
    return nil
  }

  private mutating func escape() -> UnicodeScalar? {
    guard index < bytes.count else { return nil }
    let byte = bytes[index]
    index += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UnicodeScalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return unicodeEscape()
    default: return nil
    }
  }

  /// After `\u`; two of them are one character beyond the first 65536.
  private mutating func unicodeEscape() -> UnicodeScalar? {
    guard let unit = hexadecimal() else { return nil }
    guard (0xd800..<0xdc00).contains(unit) else { return UnicodeScalar(unit) }
    guard take("\\"), take("u"), let low = hexadecimal(), (0xdc00..<0xe000).contains(low) else { return nil }
    return UnicodeScalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00))
  }

  private mutating func hexadecimal() -> UInt32? {
    guard bytes.count - index >= 4 else { return nil }
    let digits = bytes[index..<index + 4]
    guard digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }) else { return nil }
    index += 4
    return UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
  }

  private mutating func take(_ byte: UnicodeScalar) -> Bool {
    guard index < bytes.count, bytes[index] == UInt8(ascii: byte) else { return false }
    index += 1
    return true
  }

  private mutating func skip(_ byte: UnicodeScalar) -> Bool {
    skipSpace()
    return take(byte)
  }

  private mutating func skipSpace() {
    while index < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[index]) { index += 1 }
  }
}
