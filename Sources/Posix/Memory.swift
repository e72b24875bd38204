import CLinux
import Glibc

/// Anonymous or file-backed pages that unmap themselves.
public struct MemoryMapping: ~Copyable, @unchecked Sendable {
  /// The first byte, page-aligned.
  public let base: UnsafeMutableRawPointer
  /// Bytes mapped.
  public let count: Int

  /// Reserves `count` bytes of zeroes; a page costs memory only once it is written.
  public init(anonymous count: Int, writable: Bool = true) throws(Errno) {
    let protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
    try self.init(
      count: count, protection: protection, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, file: -1, offset: 0)
  }

  /// `mmap(2)`.
  public init(count: Int, protection: Int32, flags: Int32, file: Int32, offset: Int) throws(Errno) {
    guard let pointer = mmap(nil, count, protection, flags, file, offset), pointer != MAP_FAILED else { throw .last }
    base = pointer
    self.count = count
  }

  deinit { munmap(base, count) }

  /// Gives `length` bytes from `offset` back to the kernel: they read as zeroes again. Both in bytes, page-aligned.
  public func discard(offset: Int, length: Int) {
    // The plain advice is refused for locked pages, the other one by kernels before 5.18.
    if madvise(base + offset, length, CLINUX_MADV_DONTNEED_LOCKED) != 0 {
      _ = madvise(base + offset, length, MADV_DONTNEED)
    }
  }
}

/// The size of a page, in bytes.
public let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
