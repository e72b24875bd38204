import CLinux
import Glibc
import Posix

/// How a file answers best. What decides is whether io_uring can read it without a kernel worker thread.
public enum ReadMethod: String, Sendable, Codable {
  /// Through the ring: reads of cached pages come back inline (ext4, xfs, btrfs).
  case ring
  /// Plain `pread`: the file is in memory, and io_uring would hand the read to a worker thread (tmpfs, ramfs).
  case memory
  /// Through the ring, answered by kernel workers: the file system cannot say whether a read would block.
  case worker
}

extension ReadMethod {
  /// Asks the file system of an open file, and where its name does not tell, tries a read that must not block.
  public init(of descriptor: Int32) throws(Errno) {
    var system = statfs()
    guard fstatfs(descriptor, &system) == 0 else { throw .last }
    // Both magics are 32 bits in a signed word whose width differs between machines.
    let magic = UInt32(truncatingIfNeeded: system.f_type)
    if magic == UInt32(TMPFS_MAGIC) || magic == UInt32(RAMFS_MAGIC) {
      self = .memory
      return
    }
    var byte: UInt8 = 0
    do throws(Errno) {
      _ = try retryingInterrupts { clinux_pread_nowait(descriptor, &byte, 1, 0) }
      self = .ring
    } catch .notSupported {
      self = .worker
    } catch .again {
      self = .ring
    }
  }
}
