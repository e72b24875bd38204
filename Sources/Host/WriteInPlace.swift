import Glibc
import Posix

/// Writes a file that must stay the same file: one of `/proc`, or one that somebody watches.
func writeInPlace(_ path: String, _ bytes: [UInt8]) throws(Errno) {
  let file = try Descriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC)
  let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
    do throws(Errno) { return .success(try file.writeFully(buffer)) } catch { return .failure(error) }
  }
  try result.get()
}
