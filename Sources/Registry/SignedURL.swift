/// When the signature of a redirect's target ends.
enum SignedURL {
  /// Seconds for which a target without a known expiry is used: it is resolved again when it is refused, too.
  static let unsignedLifetime: UInt64 = 300
  /// A day: nothing is believed to hold for longer.
  static let lifetimeLimit: UInt64 = 86_400

  /// Seconds from now for which `address` can be used, with a margin for a request that is on its way; 0: use it once.
  /// `now` is the clock of the server that sent it, in seconds since 1970, or ours.
  static func lifetime(_ address: WebAddress, now: UInt64) -> UInt64 {
    let parameters = address.parameters
    guard let end = end(parameters) else { return unsignedLifetime }
    guard end > now else { return 0 }
    let lifetime = min(end - now, lifetimeLimit)
    return lifetime - min(30, lifetime / 5 + 1)
  }

  /// Seconds since 1970.
  private static func end(_ parameters: [String: String]) -> UInt64? {
    // S3 and its relatives, Google, Alibaba: a time and seconds from it.
    for (date, seconds) in [
      ("x-amz-date", "x-amz-expires"), ("x-goog-date", "x-goog-expires"), ("x-oss-date", "x-oss-expires"),
    ] {
      guard let time = parameters[date].flatMap(parseTimestamp), let length = parameters[seconds].flatMap(parseDecimal)
      else { continue }
      return time + min(length, lifetimeLimit)
    }
    // Azure: a time. CloudFront, older S3, Google and Alibaba: seconds since 1970.
    return parameters["se"].flatMap(parseTimestamp) ?? parameters["expires"].flatMap(parseDecimal)
  }

  /// `20260131T235959Z`, `2026-01-31T23:59:59Z`, the same without seconds, `2026-01-31`; UTC. Seconds since 1970.
  static func parseTimestamp(_ text: String) -> UInt64? {
    guard text.utf8.count <= 32 else { return nil }
    let digits = text.utf8.filter { (0x30...0x39).contains($0) }.map { UInt64($0 - 0x30) }
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) || "-:TZ.".utf8.contains($0) }), digits.count >= 8
    else { return nil }
    func number(_ range: Range<Int>) -> UInt64 {
      range.upperBound <= digits.count ? digits[range].reduce(0) { $0 * 10 + $1 } : 0
    }
    let (year, month, day) = (number(0..<4), number(4..<6), number(6..<8))
    let (hour, minute, second) = (number(8..<10), number(10..<12), number(12..<14))
    guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
      second <= 60
    else { return nil }
    return daysSince1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
  }

  /// Of the Gregorian calendar, with years that begin in March so that the leap day is their last.
  private static func daysSince1970(_ year: UInt64, _ month: UInt64, _ day: UInt64) -> UInt64 {
    let (y, m) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468
  }
}
