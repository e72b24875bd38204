/// What matters of the head of an HTTP answer.
struct ResponseHead: Equatable {
  var status = 0
  var contentRange: String?
  var contentLength: UInt64?
  var contentType: String?
  var contentEncoding: String?
  var location: String?
  var retryAfter: String?
  var date: String?
  /// The values of `WWW-Authenticate`, one for each line.
  var challenges: [String] = []
  private var challengeBytes = 0

  /// 1xx: the answer is still to come.
  var isInterim: Bool { (100..<200).contains(status) }
  /// Whether the server sends elsewhere.
  var isRedirect: Bool { [301, 302, 303, 307, 308].contains(status) }

  /// Bytes of `WWW-Authenticate` that are kept.
  private static let challengeLimit = 16 << 10

  /// Takes a line with its end; true for the empty line after the last one.
  mutating func add(_ line: UnsafeRawBufferPointer) -> Bool {
    var text = line[...]
    while let last = text.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { text.removeLast() }
    if text.isEmpty { return true }
    if text.starts(with: "HTTP/".utf8) {
      self = ResponseHead()
      status = Self.status(text)
      return false
    }
    guard let colon = text.firstIndex(of: UInt8(ascii: ":")) else { return false }
    let value = String(decoding: text[(colon + 1)...], as: UTF8.self).trimmed
    set(String(decoding: text[..<colon], as: UTF8.self).lowercased(), value)
    return false
  }

  /// The three digits after the first space.
  private static func status(_ line: Slice<UnsafeRawBufferPointer>) -> Int {
    let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: true)
    guard words.count > 1, words[1].count == 3 else { return 0 }
    return Int(String(decoding: words[1], as: UTF8.self)) ?? 0
  }

  private mutating func set(_ name: String, _ value: String) {
    switch name {
    case "content-range": contentRange = value
    case "content-length": contentLength = parseDecimal(value)
    case "content-type": contentType = value
    case "content-encoding": contentEncoding = value
    case "location": location = value
    case "retry-after": retryAfter = value
    case "date": date = value
    case "www-authenticate":
      challengeBytes += value.utf8.count
      if challengeBytes <= Self.challengeLimit { challenges.append(value) }
    default: break
    }
  }
}
