import Glibc
import Posix

/// A kernel's release as upstream counts: 6.12.95.
public struct KernelVersion: Comparable, Sendable, CustomStringConvertible {
  /// The three numbers.
  public let major, minor, patch: Int

  /// A version by its parts.
  public init(_ major: Int, _ minor: Int, _ patch: Int = 0) {
    self.major = major
    self.minor = minor
    self.patch = patch
  }

  /// Parses the beginning of a release, `7.3.4+deb14-amd64` or `6.19-rc2`; nil when it has no two numbers.
  public init?(parsing text: some StringProtocol) {
    var numbers: [Int] = []
    var rest = text[...]
    while numbers.count < 3 {
      let digits = rest.prefix { $0.isASCII && $0.isNumber }
      guard let number = Int(digits) else { break }
      numbers.append(number)
      rest = rest[digits.endIndex...]
      guard rest.first == "." else { break }
      rest = rest.dropFirst()
    }
    guard numbers.count >= 2 else { return nil }
    self.init(numbers[0], numbers[1], numbers.count > 2 ? numbers[2] : 0)
  }

  /// What a kernel really is. Distributions freeze the number in the release (`6.8.0-51-generic`, `6.1.0-40-amd64`)
  /// and say it elsewhere: Debian in `version` (`#1 SMP Debian 6.1.153-1`), Ubuntu as the last word of
  /// `/proc/version_signature`.
  public init?(release: String, version: String, signature: String?) {
    if let word = signature?.split(separator: " ").last?.split(separator: "\n").first,
      let found = KernelVersion(parsing: word)
    {
      self = found
      return
    }
    guard let base = KernelVersion(parsing: release) else { return nil }
    let words = version.split(separator: " ")
    if base.patch == 0, let debian = words.firstIndex(of: "Debian"), debian + 1 < words.count,
      let found = KernelVersion(parsing: words[debian + 1]), found.major == base.major,
      found.minor == base.minor
    {
      self = found
      return
    }
    self = base
  }

  /// The running kernel's release, and its version if that can be told.
  public static func running() -> (release: String, version: KernelVersion?) {
    var names = utsname()
    uname(&names)
    let release = text(&names.release)
    let signature = (try? readFile("/proc/version_signature", limit: 4096)).map {
      String(decoding: $0, as: UTF8.self)
    }
    return (release, KernelVersion(release: release, version: text(&names.version), signature: signature))
  }

  private static func text<T>(_ field: inout T) -> String {
    withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  /// By major, minor and patch.
  public static func < (left: KernelVersion, right: KernelVersion) -> Bool {
    (left.major, left.minor, left.patch) < (right.major, right.minor, right.patch)
  }

  /// All three numbers, `6.12.95`.
  public var description: String { "\(major).\(minor).\(patch)" }
}
