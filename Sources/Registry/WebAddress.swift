/// An absolute `http` or `https` URL, split where its meaning depends on it.
///
/// Stricter than RFC 3986 and than curl about the host: credentials go there. curl is only given what is put together
/// again from these parts, so that it cannot understand a URL differently.
struct WebAddress: Hashable, Sendable {
  let isSecure: Bool
  /// Lower case; an IPv6 address with its brackets.
  let host: String
  let port: UInt16
  /// From the `/` after the authority, with the query: never empty.
  let target: String

  /// Longer ones are refused; signed URLs have 2 KB.
  static let lengthLimit = 16 << 10

  /// nil for anything with user names, white space, control characters, bytes outside of ASCII, or without a host.
  /// A fragment is left out.
  init?(_ text: String) {
    let bytes = text.utf8.prefix { $0 != UInt8(ascii: "#") }
    guard bytes.count <= Self.lengthLimit, bytes.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
    self.init(bytes: Array(bytes))
  }

  private init?(bytes: [UInt8]) {
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), bytes[colon...].starts(with: "://".utf8) else {
      return nil
    }
    switch String(decoding: bytes[..<colon], as: UTF8.self).lowercased() {
    case "https": isSecure = true
    case "http": isSecure = false
    default: return nil
    }
    let rest = bytes[(colon + 3)...]
    let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.endIndex
    guard let (host, port) = Self.authority(rest[..<end]) else { return nil }
    self.host = host
    self.port = port ?? (isSecure ? 443 : 80)
    let target = String(decoding: rest[end...], as: UTF8.self)
    self.target = target.hasPrefix("/") ? target : "/" + target
  }

  /// What a `Location` of an answer from `base` means (RFC 3986, 5.2, but `.` and `..` stay as they are).
  init?(location: String, from base: WebAddress) {
    let scheme = base.isSecure ? "https:" : "http:"
    let head = location.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
    if head.contains(":") {
      self.init(location)
    } else if location.hasPrefix("//") {
      self.init(scheme + location)
    } else if location.hasPrefix("/") {
      self.init(base.origin + location)
    } else if location.hasPrefix("?") {
      self.init(base.origin + base.path + location)
    } else {
      guard !location.isEmpty, let slash = base.path.lastIndex(of: "/") else { return nil }
      self.init(base.origin + base.path[...slash] + location)
    }
  }

  private static func authority(_ bytes: ArraySlice<UInt8>) -> (String, UInt16?)? {
    let hostEnd: Int
    if bytes.first == UInt8(ascii: "[") {
      guard let bracket = bytes.firstIndex(of: UInt8(ascii: "]")), bracket - bytes.startIndex > 2 else { return nil }
      guard bytes[(bytes.startIndex + 1)..<bracket].allSatisfy({ "0123456789abcdefABCDEF:.".utf8.contains($0) })
      else { return nil }
      hostEnd = bracket + 1
    } else {
      hostEnd = bytes.firstIndex(of: UInt8(ascii: ":")) ?? bytes.endIndex
      guard hostEnd > bytes.startIndex, bytes[..<hostEnd].allSatisfy(Self.isHostByte) else { return nil }
    }
    let host = String(decoding: bytes[..<hostEnd], as: UTF8.self).lowercased()
    guard hostEnd < bytes.endIndex else { return (host, nil) }
    guard bytes[hostEnd] == UInt8(ascii: ":"),
      let number = parseDecimal(String(decoding: bytes[(hostEnd + 1)...], as: UTF8.self)),
      let port = UInt16(exactly: number), port != 0
    else { return nil }
    return (host, port)
  }

  private static func isHostByte(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
      || "-._".utf8.contains(byte)
  }

  /// `host:port`, the port only where it is not the scheme's own.
  var authority: String { port == (isSecure ? 443 : 80) ? host : "\(host):\(port)" }

  /// Scheme, host and port: what credentials are for.
  var origin: String { "\(isSecure ? "https" : "http")://\(authority)" }

  /// The whole URL.
  var url: String { origin + target }

  /// Without the query.
  var path: Substring { target.prefix { $0 != "?" } }

  /// The query without its `?`; nil without one.
  var query: Substring? { target.firstIndex(of: "?").map { target[target.index(after: $0)...] } }

  /// The values of the query by their lower-case names, decoded; of equal names the first.
  var parameters: [String: String] {
    var values: [String: String] = [:]
    for part in (query ?? "").split(separator: "&") {
      let name = part.prefix { $0 != "=" }
      let key = percentDecoded(name).lowercased()
      if values[key] == nil { values[key] = percentDecoded(part.dropFirst(name.count + 1)) }
    }
    return values
  }
}

/// Undoes `%41`; what is no such escape stays.
func percentDecoded(_ text: some StringProtocol) -> String {
  var result: [UInt8] = []
  var rest = Array(text.utf8)[...]
  while let byte = rest.popFirst() {
    if byte == UInt8(ascii: "%"), let value = hexadecimalPair(rest) {
      result.append(value)
      rest = rest.dropFirst(2)
    } else {
      result.append(byte)
    }
  }
  return String(decoding: result, as: UTF8.self)
}

private func hexadecimalPair(_ bytes: ArraySlice<UInt8>) -> UInt8? {
  guard bytes.count >= 2, bytes.prefix(2).allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }) else { return nil }
  return UInt8(String(decoding: bytes.prefix(2), as: UTF8.self), radix: 16)
}

/// Escapes everything but RFC 3986's unreserved characters, for a value in a query or a form.
func percentEncoded(_ text: String) -> String {
  var result = ""
  for byte in text.utf8 {
    let scalar = UnicodeScalar(byte)
    if byte < 0x80, scalar.properties.isAlphabetic || (0x30...0x39).contains(byte) || "-._~".utf8.contains(byte) {
      result.unicodeScalars.append(scalar)
    } else {
      result += byte < 16 ? "%0" : "%"
      result += String(byte, radix: 16, uppercase: true)
    }
  }
  return result
}
