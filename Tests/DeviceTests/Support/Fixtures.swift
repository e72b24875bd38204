import Posix
import Testing

/// The images that upstream's own tools wrote; their README says what they hold.
enum Fixtures {
  /// `$WARMBLK_FIXTURES`, or the folder `shared/fixtures` beside the package; nil when there is none.
  static let folder: String? = {
    if let named = Guest.environment("WARMBLK_FIXTURES") { return named }
    let package = #filePath.split(separator: "/").dropLast(4)
    for parent in [package.dropLast(), package.dropLast(2)] {
      let path = "/" + parent.joined(separator: "/") + "/shared/fixtures"
      if fileExists(path) { return path }
    }
    return nil
  }()
  static let absence: Comment = "no fixtures: set WARMBLK_FIXTURES or put them at ../shared/fixtures"
  static var areHere: Bool { folder != nil }

  static func path(_ name: String) -> String { "\(folder ?? "")/\(name)" }

  /// Names of the files of `folder` that begin with `prefix`, with their folder.
  static func names(in folder: String, _ prefix: String) throws -> [String] {
    try listDirectory(path(folder)).filter { $0.hasPrefix(prefix) }.sorted().map { "\(folder)/\($0)" }
  }

  /// The merged view of layers 0, 1 and 2, of which an independent model is the source.
  static func expected() throws -> RawContent { try merged.get() }

  /// The sha256 of the merged view of layers 0 to `top`.
  static func digest(_ top: Int) -> String {
    String(Guest.text(path("lsmt/expected.\(["0", "01", "012"][top]).img.sha256")).prefix(64))
  }

  private static let merged = Result {
    let raw = "/dev/shm/expected.img"
    try need("zstd", "-dqf", "--sparse", path("lsmt/expected.012.img.zst"), "-o", raw)
    return try RawContent(raw)
  }
}
