import Glibc
import Posix

/// Where a layer's blob is looked for, in the order of overlaybd: `file`, then these names in `dir`.
enum LayerLocation {
  /// What a finished download, a snapshotter's commit and a layer sealed in place are called.
  static let names = ["overlaybd.commit", ".commit", "overlaybd.sealed"]

  /// Paths to try. Without `dir` there are no names in a folder: the root folder is nobody's layer.
  static func candidates(for lower: ImageConfig.Lower) -> [String] {
    var paths: [String] = []
    if let file = lower.file { paths.append(file) }
    if let dir = lower.dir { paths += names.map { absolutePath($0, in: dir) } }
    return paths
  }

  /// The first candidate that exists; nil when none does. What exists is then opened or is an error: a layer must not
  /// silently come from somewhere else because of, say, a missing permission.
  static func find(_ lower: ImageConfig.Lower) throws(ImageError) -> String? {
    for path in candidates(for: lower) {
      if access(path, F_OK) == 0 { return path }
      let error = Errno.last
      guard error == .noEntry || error == Errno(rawValue: ENOTDIR) else {
        throw .system(call: "looking for the layer", path: path, error)
      }
    }
    return nil
  }
}
