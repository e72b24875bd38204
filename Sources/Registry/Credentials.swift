/// Who we are to a registry.
struct Credentials: Equatable, Sendable {
  enum Secret: Equatable, Sendable {
    case password(user: String, String)
    /// To be changed for a token at the token server (OAuth 2; Docker's `identitytoken`).
    case refreshToken(String)
    /// To be shown to the registry as it is (Docker's `registrytoken`).
    case bearer(String)
  }

  var secret: Secret
  /// Which source they are from, for errors.
  var source: String

  /// The value of `Authorization` for Basic; nil for what is no password.
  var basic: String? {
    guard case .password(let user, let password) = secret else { return nil }
    return "Basic " + encodeBase64(Array("\(user):\(password)".utf8))
  }
}

extension Credentials.Secret {
  /// `dXNlcjpwYXNzd29yZA==`, as configurations have it; nil when it is not that.
  init?(encoded text: String) {
    guard let bytes = decodeBase64(text), let pair = String(validating: bytes, as: UTF8.self),
      let colon = pair.firstIndex(of: ":")
    else { return nil }
    // Docker's writers have padded passwords with zeroes.
    let password =
      pair[pair.index(after: colon)...].split(separator: "\0", omittingEmptySubsequences: false).first ?? ""
    self = .password(user: String(pair[..<colon]), String(password))
  }
}

private let base64Letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

/// RFC 4648, 4.
func encodeBase64(_ bytes: [UInt8]) -> String {
  var text: [UInt8] = []
  for start in stride(from: 0, to: bytes.count, by: 3) {
    let group = bytes[start..<min(start + 3, bytes.count)]
    let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
    for letter in 0..<4 {
      text.append(letter <= group.count ? base64Letters[bits >> (18 - 6 * letter) & 63] : UInt8(ascii: "="))
    }
  }
  return String(decoding: text, as: UTF8.self)
}

/// RFC 4648, 4 and 5, with or without padding; nil for any other character.
func decodeBase64(_ text: String) -> [UInt8]? {
  let letters = text.trimmed.utf8
  let padding = letters.reversed().prefix { $0 == UInt8(ascii: "=") }.count
  guard padding <= 2, letters.count % 4 != 1 else { return nil }
  var bytes: [UInt8] = []
  var bits = 0
  var count = 0
  for letter in letters.dropLast(padding) {
    let plain =
      letter == UInt8(ascii: "-") ? UInt8(ascii: "+") : letter == UInt8(ascii: "_") ? UInt8(ascii: "/") : letter
    guard let value = base64Letters.firstIndex(of: plain) else { return nil }
    bits = (bits << 6 | value) & 0xfff
    count += 6
    if count >= 8 {
      count -= 8
      bytes.append(UInt8(bits >> count & 0xff))
    }
  }
  return bytes
}
