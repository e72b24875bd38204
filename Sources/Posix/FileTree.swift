import CLinux
import Glibc

/// Reads a whole small file: `/proc`, `/sys`, a configuration. More than `limit` bytes is `EFBIG`.
public func readFile(_ path: String, limit: Int = 16 << 20) throws(Errno) -> [UInt8] {
  let file = try Descriptor.open(path)
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 65536)
  while true {
    let result: Result<Int, Errno> = chunk.withUnsafeMutableBytes { buffer in
      do throws(Errno) { return .success(try file.read(into: buffer)) } catch { return .failure(error) }
    }
    let count = try result.get()
    if count == 0 { return bytes }
    bytes += chunk[..<count]
    if bytes.count > limit { throw Errno(rawValue: EFBIG) }
  }
}

/// Writes `bytes` so that readers see the old file or the new one: a temporary file beside it, then a rename.
/// With `durable`, the file is synchronized before the rename and the directory after it.
public func writeFileAtomically(
  _ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644, durable: Bool = false
) throws(Errno) {
  let temporary = "\(path).\(getpid()).tmp"
  do throws(Errno) {
    let file = try Descriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
    let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
      do throws(Errno) { return .success(try file.writeFully(buffer)) } catch { return .failure(error) }
    }
    try result.get()
    if durable { try file.synchronize() }
    if rename(temporary, path) != 0 { throw .last }
    if durable {
      let parent = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
      try Descriptor.open(parent, O_RDONLY | O_DIRECTORY).synchronize()
    }
  } catch {
    _ = unlink(temporary)
    throw error
  }
}

/// Makes `path` and its missing parents.
public func makeDirectories(_ path: String, mode: UInt32 = 0o755) throws(Errno) {
  if mkdir(path, mode) == 0 { return }
  let error = Errno.last
  if error == .exists { return }
  guard error == .noEntry, let slash = path.lastIndex(of: "/"), slash != path.startIndex else { throw error }
  try makeDirectories(String(path[..<slash]), mode: mode)
  if mkdir(path, mode) != 0, Errno.last != .exists { throw .last }
}

/// The names in a directory, unsorted, without `.` and `..`.
public func listDirectory(_ path: String) throws(Errno) -> [String] {
  guard let directory = opendir(path) else { throw .last }
  defer { closedir(directory) }
  var names: [String] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    if name != ".", name != ".." { names.append(name) }
  }
  return names
}

/// Whether something exists at `path` (following links).
public func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }
