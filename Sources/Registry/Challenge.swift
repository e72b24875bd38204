/// One challenge of a `WWW-Authenticate` header (RFC 9110, 11.6.1).
struct Challenge: Equatable {
  /// Lower case: `basic`, `bearer`.
  var scheme: String
  /// By lower-case names; of equal names the first.
  var parameters: [String: String] = [:]
  /// Instead of parameters, as in `Negotiate dG9rZW4=`.
  var token68: String?

  /// All challenges of a header's value. A header may have several, separated by the comma that also separates the
  /// parameters of one; values may have commas, as in `scope="repository:a:pull,push"`. Nothing after the first
  /// mistake is believed.
  static func parse(_ value: String) -> [Challenge] {
    var scanner = ChallengeScanner(bytes: Array(value.utf8))
    var challenges: [Challenge] = []
    while let next = scanner.item() {
      switch next {
      case .scheme(let name): challenges.append(Challenge(scheme: name.lowercased()))
      case .token68(let token):
        guard let last = challenges.indices.last, challenges[last].parameters.isEmpty, challenges[last].token68 == nil
        else { return challenges }
        challenges[last].token68 = token
      case .parameter(let name, let value):
        guard let last = challenges.indices.last, challenges[last].token68 == nil else { return challenges }
        let key = name.lowercased()
        if challenges[last].parameters[key] == nil { challenges[last].parameters[key] = value }
      }
    }
    return challenges
  }
}

/// The words of a `WWW-Authenticate` header.
private struct ChallengeScanner {
  enum Item {
    case scheme(String)
    case token68(String)
    case parameter(String, String)
  }

  let bytes: [UInt8]
  private var index = 0
  /// Whether a scheme was just read, after which a token without `=` belongs to it.
  private var isAfterScheme = false

  init(bytes: [UInt8]) { self.bytes = bytes }

  /// nil at the end and at the first mistake.
  mutating func item() -> Item? {
    skip(while: Self.isSpace)
    if index < bytes.count, bytes[index] == UInt8(ascii: ",") { isAfterScheme = false }
    skip { $0 == UInt8(ascii: ",") || Self.isSpace($0) }
    let start = index
    let name = take(while: Self.isToken)
    if isAfterScheme, let token = token68(from: start) {
      isAfterScheme = false
      return .token68(token)
    }
    guard !name.isEmpty else { return nil }
    let nameEnd = index
    skip(while: Self.isSpace)
    guard index < bytes.count, bytes[index] == UInt8(ascii: "=") else {
      index = nameEnd
      isAfterScheme = true
      return .scheme(name)
    }
    isAfterScheme = false
    index += 1
    skip(while: Self.isSpace)
    guard let value = value() else { return nil }
    return .parameter(name, value)
  }

  /// A word of base64's letters with its `=` at the end, up to a comma or the end. Leaves `index` alone when it is none.
  private mutating func token68(from start: Int) -> String? {
    let before = index
    index = start
    let letters = take(while: Self.isToken68)
    let padding = take { $0 == UInt8(ascii: "=") }
    skip(while: Self.isSpace)
    if !letters.isEmpty, index == bytes.count || bytes[index] == UInt8(ascii: ",") { return letters + padding }
    index = before
    return nil
  }

  private mutating func value() -> String? {
    guard index < bytes.count else { return nil }
    guard bytes[index] == UInt8(ascii: "\"") else {
      let word = take(while: Self.isToken)
      return word.isEmpty ? nil : word
    }
    index += 1
    var text: [UInt8] = []
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      switch byte {
      case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard index < bytes.count else { return nil }
        text.append(bytes[index])
        index += 1
      default: text.append(byte)
      }
    }
    return nil
  }

  private mutating func skip(while condition: (UInt8) -> Bool) {
    while index < bytes.count, condition(bytes[index]) { index += 1 }
  }

  private mutating func take(while condition: (UInt8) -> Bool) -> String {
    let start = index
    skip(while: condition)
    return String(decoding: bytes[start..<index], as: UTF8.self)
  }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

  private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
  }

  private static func isToken(_ byte: UInt8) -> Bool {
    isLetterOrDigit(byte) || "!#$%&'*+-.^_`|~".utf8.contains(byte)
  }

  private static func isToken68(_ byte: UInt8) -> Bool { isLetterOrDigit(byte) || "-._~+/".utf8.contains(byte) }
}
