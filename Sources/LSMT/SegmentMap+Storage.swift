import Glibc

extension SegmentMap {
  /// Memory for a table that is looked up at random, not initialized; `deallocate()` releases it.
  ///
  /// A table of megabytes gets huge pages where the kernel has some to give: a random lookup otherwise misses the TLB
  /// for each table, which costs as much as the cache miss that follows. Only whole huge pages are asked for, so no
  /// memory is taken that the table does not need.
  static func allocateTable<Element: BitwiseCopyable>(
    of type: Element.Type, capacity: Int
  ) -> UnsafeMutablePointer<Element> {
    let hugePage = 2 << 20
    let byteCount = capacity * MemoryLayout<Element>.stride
    guard byteCount >= hugePage else { return .allocate(capacity: capacity) }
    let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: hugePage)
    // A kernel without huge pages refuses, and small ones do as well.
    _ = madvise(memory, byteCount & ~(hugePage - 1), MADV_HUGEPAGE)
    return memory.bindMemory(to: type, capacity: capacity)
  }
}
