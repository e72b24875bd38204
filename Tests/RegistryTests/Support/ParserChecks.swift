import JSON

@testable import Registry

/// What holds for every parser, whatever the bytes.
enum ParserChecks {
  static func all(_ bytes: [UInt8], _ check: (Bool, @autoclosure () -> String) -> Void) {
    let text = String(decoding: bytes, as: UTF8.self)
    for challenge in Challenge.parse(text) {
      check(!challenge.scheme.isEmpty && !challenge.parameters.keys.contains(""), "\(text): \(challenge)")
    }
    if case .bytes(let range, let total)? = ContentRange(text) {
      check(!range.isEmpty && range.upperBound <= total ?? .max, "\(text): \(range) of \(total ?? 0)")
    }
    if let address = WebAddress(text) {
      check(WebAddress(address.url) == address, "\(text): \(address.url) is another one")
      check(!address.authority.contains("@") && !address.host.isEmpty, "\(text): \(address.authority)")
      _ = SignedURL.lifetime(address, now: 1_767_225_600)
      _ = CredentialList.names(of: address)
    }
    let base = WebAddress("https://host/a/b")!
    if let next = WebAddress(location: text, from: base) { check(WebAddress(next.url) == next, "\(text): \(next.url)") }
    if let json = JSONValue(bytes) {
      _ = CredentialList.find(json, for: base)
      _ = DockerConfig.steps(json, for: base)
    }
    _ = DockerConfig.helperAnswer(bytes)
    check(!withoutSecrets(text).contains("?") || withoutSecrets(text).hasSuffix("?…"), text)
    var head = ResponseHead()
    bytes.withUnsafeBytes { _ = head.add($0) }
  }
}
