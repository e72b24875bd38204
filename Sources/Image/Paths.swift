import Glibc

/// `path` from the working directory or from `folder`. Purely textual: links and `..` are the kernel's business.
public func absolutePath(_ path: String, in folder: String? = nil) -> String {
  if path.hasPrefix("/") { return path }
  let base = folder ?? workingDirectory()
  return base.hasSuffix("/") ? base + path : "\(base)/\(path)"
}

/// The part before the last slash of an absolute path.
func folder(of path: String) -> String {
  guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
  return String(path[..<slash])
}

private func workingDirectory() -> String {
  guard let buffer = getcwd(nil, 0) else { return "." }
  defer { free(buffer) }
  return String(cString: buffer)
}
