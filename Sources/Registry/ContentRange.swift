/// `Content-Range` (RFC 9110, 14.4), in the unit of bytes.
enum ContentRange: Equatable {
  /// `bytes 0-99/1234`, or `/*` when the server does not know the size.
  case bytes(Range<UInt64>, totalSize: UInt64?)
  /// `bytes */1234`, with 416.
  case unsatisfied(totalSize: UInt64)

  /// nil for everything else, also for a range that is not in its own total.
  init?(_ text: String) {
    guard text.utf8.count <= 200 else { return nil }
    let words = text.trimmed.split(separator: " ", maxSplits: 1)
    guard words.count == 2, words[0].lowercased() == "bytes" else { return nil }
    let parts = words[1].trimmed.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else { return nil }
    let total = parseDecimal(parts[1])
    guard total != nil || parts[1] == "*" else { return nil }
    if parts[0] == "*" {
      guard let total else { return nil }
      self = .unsatisfied(totalSize: total)
      return
    }
    let ends = parts[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard ends.count == 2, let first = parseDecimal(ends[0]), let last = parseDecimal(ends[1]), first <= last,
      last < .max, total.map({ last < $0 }) ?? true
    else { return nil }
    self = .bytes(first..<last + 1, totalSize: total)
  }
}
