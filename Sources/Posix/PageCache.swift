import CLinux
import Glibc

/// What the page cache has of a file. All answers may be out of date when they are given.
public enum PageCache {
  /// Whether it has pages for all of a range, in bytes, of a file; they may still be on their way from the disk.
  /// False where the kernel does not say (`cachestat(2)`, 6.5).
  public static func hasPages(_ file: Int32, offset: UInt64, count: Int) -> Bool {
    let page = UInt64(UInt(bitPattern: pageSize))
    let cached = clinux_cached_pages(file, offset, UInt64(UInt(bitPattern: count)))
    return cached >= 0
      && UInt64(cached) == (offset &+ UInt64(UInt(bitPattern: count)) &- 1) / page &- offset / page &+ 1
  }

  /// Whether all of the pages that are mapped at `bytes` can be read without a wait (`mincore(2)`): false for pages
  /// that the cache does not have, or that are on their way. Costs the kernel a page of memory for each call.
  public static func isReady(_ bytes: UnsafeRawPointer, count: Int) -> Bool {
    let statesMax = 256
    let page = UInt(bitPattern: pageSize)
    let end = UInt(bitPattern: bytes) &+ UInt(bitPattern: count)
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: statesMax) { states in
      var start = UInt(bitPattern: bytes) & ~(page &- 1)
      while start < end {
        let pages = min(Int(bitPattern: (end &- start &+ page &- 1) / page), statesMax)
        let length = pages &* Int(bitPattern: page)
        if mincore(UnsafeMutableRawPointer(bitPattern: start), length, states.baseAddress) != 0 { return false }
        for index in 0..<pages where states[index] & 1 == 0 { return false }
        start &+= UInt(bitPattern: length)
      }
      return true
    }
  }
}
