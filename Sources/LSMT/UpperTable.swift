import Glibc
import Synchronization

/// The memory of an ``UpperIndex``'s table of regions: address space for the most that there can be, which costs nothing.
/// As much as the device needs may be used, and each page is taken when it is first written to.
///
///     0       the device's sectors
///     4096    a bit for each page of regions: whether one of them was ever written to
///     36864   the regions
struct UpperTable: @unchecked Sendable {
  private static let pageBytes = 4096
  private static let regionsPerPage = UInt64(pageBytes / MemoryLayout<UpperRegion>.stride)
  private static let summaryWords = Int(UpperIndex.regionsMax / regionsPerPage / 64)
  private static let headBytes = pageBytes + summaryWords * 8
  private static let byteLimit = headBytes + Int(UpperIndex.regionsMax) * MemoryLayout<UpperRegion>.stride

  private let memory: UnsafeMutableRawPointer
  let regionShift: UInt64

  init(regionShift: UInt64, deviceSectors: UInt64) throws(LSMTError) {
    self.regionShift = regionShift
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    guard let memory = mmap(nil, Self.byteLimit, PROT_NONE, flags, -1, 0), memory != MAP_FAILED else {
      throw .noMemory(bytes: Self.byteLimit, errno: errno)
    }
    self.memory = memory
    // A huge page for one write would be 512 times what is needed. A kernel without them refuses, which is as well.
    _ = madvise(memory, Self.byteLimit, MADV_NOHUGEPAGE)
    do throws(LSMTError) { try grow(to: deviceSectors) } catch {
      deallocate()
      throw error
    }
  }

  func deallocate() { munmap(memory, Self.byteLimit) }

  var sectors: UnsafeMutablePointer<Atomic<UInt64>> { memory.assumingMemoryBound(to: Atomic<UInt64>.self) }
  var regions: UnsafeMutablePointer<UpperRegion> {
    (memory + Self.headBytes).assumingMemoryBound(to: UpperRegion.self)
  }
  private var summary: UnsafeMutablePointer<Atomic<UInt64>> {
    (memory + Self.pageBytes).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  var regionSectors: UInt64 { 1 << regionShift }
  var deviceSectors: UInt64 { sectors.pointee.load(ordering: .acquiring) }

  /// Makes as much of the table usable as the device needs, and then says so to readers.
  func grow(to deviceSectors: UInt64) throws(LSMTError) {
    let count = (deviceSectors + regionSectors - 1) >> regionShift
    let bytes = Self.headBytes + Int(count) * MemoryLayout<UpperRegion>.stride
    let pages = (bytes + Self.pageBytes - 1) / Self.pageBytes * Self.pageBytes
    guard mprotect(memory, pages, PROT_READ | PROT_WRITE) == 0 else { throw .noMemory(bytes: pages, errno: errno) }
    sectors.pointee.store(deviceSectors, ordering: .releasing)
  }

  /// Notes that region `region` is written to. Only for the writer.
  func touch(_ region: UInt64) {
    let page = region / Self.regionsPerPage
    let word = summary + Int(page / 64)
    let bits = word.pointee.load(ordering: .relaxed)
    word.pointee.store(bits | 1 << (page % 64), ordering: .relaxed)
  }

  /// Where a page of regions that was never touched ends, or 64 of them, if `region` is the first of it: whoever looks for
  /// what is mapped need not look at them, which would even take memory for their page tables. `sectors` is where the
  /// table's memory begins.
  static func untouchedEnd(from region: UInt64, _ sectors: UnsafeMutablePointer<Atomic<UInt64>>) -> UInt64? {
    guard region % regionsPerPage == 0 else { return nil }
    let page = region / regionsPerPage
    let words = UnsafeMutableRawPointer(sectors) + pageBytes
    let bits = words.assumingMemoryBound(to: Atomic<UInt64>.self)[Int(page / 64)].load(ordering: .acquiring)
    if bits == 0, page % 64 == 0 { return region + 64 * regionsPerPage }
    return bits >> (page % 64) & 1 == 0 ? region + regionsPerPage : nil
  }

  /// Bytes that were touched.
  var byteCount: Int {
    var pages = 1
    let perPage = Self.pageBytes / 8
    for first in stride(from: 0, to: Self.summaryWords, by: perPage) {
      var touched = 0
      for word in first..<first + perPage { touched += summary[word].load(ordering: .relaxed).nonzeroBitCount }
      pages += touched == 0 ? 0 : touched + 1
    }
    return pages * Self.pageBytes
  }

  /// Calls `body` with all regions that were ever written to, in order, and their numbers.
  func forEachTouchedRegion(_ body: (UInt64, UnsafeMutablePointer<UpperRegion>) -> Void) {
    for word in 0..<Self.summaryWords {
      var bits = summary[word].load(ordering: .relaxed)
      while bits != 0 {
        let first = UInt64(word * 64 + bits.trailingZeroBitCount) * Self.regionsPerPage
        bits &= bits - 1
        for number in first..<first + Self.regionsPerPage {
          let region = regions + Int(number)
          if !region.pointee.peek.isUntouched { body(number, region) }
        }
      }
    }
  }
}
