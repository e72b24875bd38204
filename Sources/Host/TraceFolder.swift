import CLinux
import Glibc
import Posix

/// The folder that a trace is written to, held open: it is the same folder whatever becomes of mounts and paths.
final class TraceFolder: Sendable {
  private let descriptor: Descriptor
  /// Its number, to be passed on.
  var rawValue: Int32 { descriptor.rawValue }

  /// Takes over a folder that somebody has opened; `ENOTDIR` when it is something else.
  init(_ descriptor: consuming Descriptor) throws(Errno) {
    guard try descriptor.status().st_mode & S_IFMT == S_IFDIR else { throw Errno(rawValue: ENOTDIR) }
    self.descriptor = descriptor
  }

  /// The folder of the file at `path`, an absolute one.
  static func of(_ path: String) throws(HostError) -> TraceFolder {
    let end = path.lastIndex(of: "/") ?? path.startIndex
    let folder = end == path.startIndex ? "/" : String(path[..<end])
    return try HostError.describing("open \(folder), the folder of the trace") { () throws(Errno) in
      if access(folder, W_OK) != 0 { throw .last }
      return try TraceFolder(try Descriptor.open(folder, O_RDONLY | O_DIRECTORY))
    }
  }

  /// What is known of a file; nil when there is none.
  func status(_ name: String) -> stat? {
    var value = stat()
    return fstatat(descriptor.rawValue, name, &value, AT_SYMLINK_NOFOLLOW) == 0 ? value : nil
  }

  /// Makes an empty file that must not be there.
  func create(_ name: String, mode: UInt32) throws(Errno) {
    let file = try open(name, O_WRONLY | O_CREAT | O_EXCL, mode)
    // Whatever the server's mask takes away.
    if fchmod(file.rawValue, mode) != 0 { throw .last }
  }

  /// Removes a file, if it is there.
  func remove(_ name: String) { _ = unlinkat(descriptor.rawValue, name, 0) }

  /// Makes what happened to names durable.
  func synchronize() throws(Errno) { try descriptor.synchronize() }

  /// Puts a file with `bytes` in the place of `name`: durable, whole or not at all. It gets owner and permissions of
  /// `model`, if there is one.
  func replace(_ name: String, _ bytes: [UInt8], like model: stat?) throws(Errno) {
    let temporary = ".\(name).\(getpid()).tmp"
    remove(temporary)
    do throws(Errno) {
      let file = try open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0o644)
      let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
        do throws(Errno) { return .success(try file.writeFully(buffer)) } catch { return .failure(error) }
      }
      try result.get()
      if let model {
        if fchown(file.rawValue, model.st_uid, model.st_gid) != 0 { throw .last }
        if fchmod(file.rawValue, model.st_mode & 0o7777) != 0 { throw .last }
      }
      try file.synchronize()
      if renameat(descriptor.rawValue, temporary, descriptor.rawValue, name) != 0 { throw .last }
    } catch {
      remove(temporary)
      throw error
    }
    try synchronize()
  }

  private func open(_ name: String, _ flags: Int32, _ mode: UInt32) throws(Errno) -> Descriptor {
    let folder = descriptor.rawValue
    return Descriptor(owning: try retryingInterrupts { clinux_openat(folder, name, flags, mode) })
  }
}
