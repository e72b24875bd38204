/// A disk, or any other file, as the parsers of this module see it: bytes at offsets, a memory of those that were read
/// lately, and a limit on the work that a damaged file system can make.
public final class Disk {
  /// Fills the buffer from a byte offset, or throws.
  public typealias Source = (UnsafeMutableRawBufferPointer, UInt64) throws(FileSystemError) -> Void

  /// Bytes.
  public let size: UInt64
  private let source: Source
  private var pages: [UInt64: [UInt8]] = [:]
  private var steps = 0
  /// What was read since somebody asked, in order; neighbours are joined.
  private var touched: [DiskRange] = []

  private static let pageSize: UInt64 = 4096
  /// 16 MiB.
  private static let pageLimit = 4096
  /// About a minute, and more than a file system of 100 million files takes.
  private static let stepLimit = 1 << 30

  /// A disk of `size` bytes; `source` is asked for nothing beyond them.
  public init(size: UInt64, source: @escaping Source) {
    self.size = size
    self.source = source
  }

  /// A disk in memory.
  public convenience init(_ bytes: [UInt8]) {
    self.init(size: UInt64(bytes.count)) { buffer, offset throws(FileSystemError) in
      bytes.withUnsafeBytes { buffer.copyMemory(from: .init(rebasing: $0[Int(offset)..<Int(offset) + buffer.count])) }
    }
  }

  /// `count` bytes at `offset`, all of them.
  ///
  /// - Throws: `outside`, `read`, `tooMuchWork`.
  func bytes(at offset: UInt64, count: Int) throws(FileSystemError) -> [UInt8] {
    guard count >= 0, offset <= size, UInt64(count) <= size - offset else {
      throw .outside(offset: offset, count: count, size: size)
    }
    try work(1 + count >> 9)
    let end = offset + UInt64(count)
    touch(offset..<end)
    if count > 16 * Int(Self.pageSize) { return try fetch(offset..<end) }
    var result: [UInt8] = []
    result.reserveCapacity(count)
    var position = offset
    while position < end {
      let start = position / Self.pageSize * Self.pageSize
      let page = try page(start)
      let last = min(end, start + Self.pageSize)
      result += page[Int(position - start)..<Int(last - start)]
      position = last
    }
    return result
  }

  private func page(_ start: UInt64) throws(FileSystemError) -> [UInt8] {
    if let page = pages[start] { return page }
    let page = try fetch(start..<min(size, start + Self.pageSize))
    if pages.count == Self.pageLimit { pages.removeAll(keepingCapacity: true) }
    pages[start] = page
    return page
  }

  private func fetch(_ range: DiskRange) throws(FileSystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    var failure: FileSystemError?
    bytes.withUnsafeMutableBytes { buffer in
      do throws(FileSystemError) { try source(buffer, range.lowerBound) } catch { failure = error }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Counts steps of a walk, so that none is endless.
  func work(_ count: Int) throws(FileSystemError) {
    steps += count
    guard steps <= Self.stepLimit else { throw .tooMuchWork }
  }

  /// Notes a range of the disk as one that was read.
  func touch(_ range: DiskRange) {
    if range.isEmpty { return }
    if let last = touched.last, last.lowerBound <= range.lowerBound, range.lowerBound <= last.upperBound {
      touched[touched.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
    } else {
      touched.append(range)
    }
  }

  /// What was read since the last call.
  func takeTouched() -> [DiskRange] {
    defer { touched.removeAll(keepingCapacity: true) }
    return touched
  }
}

/// A byte range of a disk.
public typealias DiskRange = Range<UInt64>

extension [UInt8] {
  /// A little-endian integer at a byte offset, which the caller knows to be there.
  func little<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type, at offset: Int) -> Integer {
    precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count)
    return withUnsafeBytes { Integer(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
  }

  func u16(_ offset: Int) -> Int { Int(little(UInt16.self, at: offset)) }
  func u32(_ offset: Int) -> UInt64 { UInt64(little(UInt32.self, at: offset)) }
  func u64(_ offset: Int) -> UInt64 { little(UInt64.self, at: offset) }
}

extension UInt64 {
  /// Quotient, rounded up; no overflow.
  func dividedUp(by divisor: UInt64) -> UInt64 { self / divisor + (self % divisor == 0 ? 0 : 1) }
}
