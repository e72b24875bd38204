import CLinux
import Glibc
import Posix

/// A layer's file where the kernel can read it out of the page cache: the source of user copies.
///
/// Only the kernel may read the bytes, when they are given to `pwrite`: a page that is gone because somebody cut the
/// file is an error there, and a signal that ends the process here.
final class MappedFile: Sendable {
  private let mapping: MemoryMapping

  /// Maps the first `count` bytes of a file.
  init(_ descriptor: Int32, count: Int) throws(Errno) {
    mapping = try MemoryMapping(count: count, protection: PROT_READ, flags: MAP_SHARED, file: descriptor, offset: 0)
    // The page cache shall stay a cache, also in a process that locks what it maps.
    _ = munlock(mapping.base, count)
  }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: mapping.base, count: mapping.count) }
}
