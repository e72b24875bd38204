extension StringProtocol {
  /// Without the spaces and tabs at both ends.
  var trimmed: String {
    var bytes = Array(utf8)[...]
    while let first = bytes.first, first == 0x20 || first == 0x09 { bytes.removeFirst() }
    while let last = bytes.last, last == 0x20 || last == 0x09 { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// Digits only: no sign, no space, no overflow.
func parseDecimal(_ text: some StringProtocol) -> UInt64? {
  guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
  return UInt64(text)
}

/// A URL without its query, which may be a signature, and without the part before `@`, which may be a password.
/// Takes anything: what is no URL is shown with nothing that looks like either.
func withoutSecrets(_ url: String) -> String {
  let query = url.firstIndex { $0 == "?" || $0 == "#" }
  var text = String(url[..<(query ?? url.endIndex)])
  if let at = text.lastIndex(of: "@") {
    let scheme = text.hasPrefix("https://") ? "https://" : text.hasPrefix("http://") ? "http://" : ""
    text = scheme + "…" + text[at...]
  }
  return query == nil ? text : text + "?…"
}
