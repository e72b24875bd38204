import Glibc
import Posix

/// A temporary folder that goes away with its owner.
public final class Scratch: Sendable {
  /// The folder, absolute.
  public let path: String

  /// With `inMemory`, on tmpfs where there is one: what synchronizes hundreds of files need not wait for a disk.
  public init(inMemory: Bool = false) throws(Errno) {
    let disk = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    let base = inMemory && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : disk
    var template = Array("\(base)/warmblk-test.XXXXXX".utf8CString)
    guard template.withUnsafeMutableBufferPointer({ mkdtemp($0.baseAddress!) != nil }) else { throw .last }
    path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  deinit { remove(path) }

  /// A path in the folder.
  public func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file, and returns its path.
  @discardableResult
  public func write(_ name: String, _ bytes: [UInt8], mode: UInt32 = 0o644) throws -> String {
    let file = try Descriptor.open(self(name), O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
    try bytes.withUnsafeBytes { buffer in try file.writeFully(buffer) }
    return self(name)
  }

  /// Writes a file, and returns its path.
  @discardableResult
  public func write(_ name: String, _ text: String, mode: UInt32 = 0o644) throws -> String {
    try write(name, Array(text.utf8), mode: mode)
  }
}

/// Removes a file, or a folder with all that is in it.
public func remove(_ path: String) {
  if unlink(path) == 0 { return }
  for name in (try? listDirectory(path)) ?? [] { remove("\(path)/\(name)") }
  _ = rmdir(path)
}
