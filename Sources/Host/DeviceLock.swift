import CLinux
import Glibc
import Posix

/// The right to change who serves a device, or to take it away: the lock of `N.lock`. A process that one who has it forks
/// has it too, until both have let go.
final class DeviceLock {
  private var file: Descriptor?

  private init(_ file: consuming Descriptor) { self.file = consume file }

  /// The descriptor that holds the lock; -1 when it was let go.
  var rawValue: Int32 { file?.rawValue ?? -1 }

  /// Takes the lock of device `id`, waiting for it until the deadline. `purpose` is what others are told.
  static func take(
    _ id: UInt32, _ directory: RunDirectory, _ purpose: String, _ deadline: Deadline = Deadline(milliseconds: 0)
  ) throws(HostError) -> DeviceLock {
    while true {
      if let lock = try attempt(directory.lockPath(id), purpose) { return lock }
      if deadline.hasPassed {
        throw .refused("device \(id) is being changed by \(owner(id, directory) ?? "another warmblk"); try again later")
      }
      usleep(2000)
    }
  }

  /// The lock, or nil when somebody else has it.
  static func attempt(_ path: String, _ purpose: String) throws(HostError) -> DeviceLock? {
    try HostError.describing("lock \(path)") { () throws(Errno) in
      while true {
        let file = try Descriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
        if clinux_lock_file(file.rawValue) != 0 {
          let error = Errno.last
          if error == .again || error == .access { return nil }
          throw error
        }
        // Whoever removed the device removed the file: then this is the lock of nothing.
        if !isStill(path, file) { continue }
        let line = Array("warmblk \(purpose) (pid \(getpid()))".utf8)
        try file.truncate(to: 0)
        let written: Result<Void, Errno> = line.withUnsafeBytes { bytes in
          do throws(Errno) { return .success(try file.writeFully(bytes, at: 0)) } catch { return .failure(error) }
        }
        try written.get()
        return DeviceLock(file)
      }
    }
  }

  private static func isStill(_ path: String, _ file: borrowing Descriptor) -> Bool {
    var named = stat()
    guard stat(path, &named) == 0, let opened = try? file.status() else { return false }
    return named.st_dev == opened.st_dev && named.st_ino == opened.st_ino
  }

  /// Who has the lock of device `id`, `warmblk recover (pid 7)`; nil when nobody has.
  static func owner(_ id: UInt32, _ directory: RunDirectory) -> String? {
    let path = directory.lockPath(id)
    guard isHeld(path) else { return nil }
    let text = String(decoding: (try? readFile(path, limit: 4096)) ?? [], as: UTF8.self)
    return text.isEmpty ? "another warmblk" : text
  }

  /// Whether somebody else has the lock of the file at `path`.
  static func isHeld(_ path: String) -> Bool {
    guard let file = try? Descriptor.open(path) else { return false }
    return clinux_is_locked(file.rawValue) == 1
  }

  /// Lets go, as far as this process is concerned.
  func release() { file = nil }
}
