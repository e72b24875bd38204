import Glibc
import Posix
import Testing

/// The images that upstream's own tools wrote, with a README that says what they hold.
enum Fixtures {
  /// `$WARMBLK_FIXTURES`, or the folder `shared/fixtures` beside the package; nil when there is none.
  static let folder: String? = {
    if let named = getenv("WARMBLK_FIXTURES") { return String(cString: named) }
    let package = #filePath.split(separator: "/").dropLast(4)
    for parent in [package, package.dropLast()] {
      let path = "/" + parent.joined(separator: "/") + "/../shared/fixtures"
      if fileExists(path) { return path }
    }
    return nil
  }()

  static let absence = "no fixtures: set WARMBLK_FIXTURES or put them at ../shared/fixtures"

  static func path(_ name: String) -> String { "\(folder ?? "")/\(name)" }
  static func bytes(_ name: String) throws -> [UInt8] { try readFile(path(name)) }

  /// The first word of a `*.sha256` file.
  static func digest(_ name: String) throws -> String {
    String(decoding: try bytes(name).prefix(64), as: UTF8.self)
  }

  /// Names of the files of `folder` that begin with `prefix`, with their folder.
  static func names(in folder: String, _ prefix: String) throws -> [String] {
    try listDirectory(path(folder)).filter { $0.hasPrefix(prefix) }.sorted().map { "\(folder)/\($0)" }
  }
}

/// The decoder prints what is stored and what it computes.
func checkChecksums(_ text: String) {
  var seen = 0
  for line in text.split(separator: "\n") {
    let fields = line.split(separator: " ").reduce(into: [String: String]()) { fields, word in
      let parts = word.split(separator: "=", maxSplits: 1)
      if parts.count == 2 { fields[String(parts[0])] = String(parts[1]) }
    }
    if let digest = fields["digest"] {
      #expect(fields["digest_raw"] == digest)
      seen += 1
    }
    if line.contains("raw(seed") {
      let stored = fields["crc"]
      #expect(stored != nil && line.contains("raw(seed 100007)=\(stored!) "))
      seen += 1
    }
  }
  #expect(seen >= 5)
}
