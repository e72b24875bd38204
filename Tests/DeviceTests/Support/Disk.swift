import CLinux
import Glibc
import Posix
import Testing

/// A device of the kernel.
struct Disk: Sendable, Equatable {
  /// O_DIRECT, which glibc shows to those who ask for GNU extensions only.
  static let direct: Int32 = 0o40000

  let id: UInt32
  var path: String { "/dev/ublkb\(id)" }

  /// The attribute of its folder in /sys/block.
  func attribute(_ name: String) -> String {
    String(Guest.text("/sys/block/ublkb\(id)/\(name)").prefix { !$0.isNewline })
  }

  /// Read requests that the kernel has finished.
  var reads: Int { statistic(0) }
  /// Bytes of them.
  var readBytes: Int { statistic(2) * 512 }

  /// Write requests that the kernel has finished.
  var writes: Int { statistic(4) }
  /// Requests that the device has and has not answered.
  var inFlight: Int { statistic(8) }

  private func statistic(_ column: Int) -> Int {
    let words = attribute("stat").split(separator: " ")
    return words.count > column ? Int(words[column]) ?? 0 : 0
  }

  /// Opens the disk, lets `body` read, and closes it again, so that `del` finds nobody.
  func reading<R>(direct: Bool, _ body: (borrowing DiskReader) throws -> R) throws -> R {
    try body(DiskReader(try Descriptor.open(path, O_RDONLY | (direct ? Self.direct : 0))))
  }
}

/// Reads an open disk into memory that O_DIRECT accepts.
struct DiskReader: ~Copyable {
  static let step = 1 << 20
  private let file: Descriptor
  private let memory: MemoryMapping

  init(_ file: consuming Descriptor) {
    self.file = file
    // Failing here is failing to get 1 MiB.
    memory = try! MemoryMapping(anonymous: Self.step)
  }

  var size: UInt64 {
    var bytes: UInt64 = 0
    return clinux_block_size64(file.rawValue, &bytes) == 0 ? bytes : 0
  }

  /// Up to 1 MiB at `offset`, valid until the next read; shorter at the end of the disk.
  func read(_ count: Int, at offset: UInt64) throws(Errno) -> UnsafeRawBufferPointer {
    let buffer = UnsafeMutableRawBufferPointer(start: memory.base, count: count)
    // What is not read must not look like what was read before.
    if count > 0 { memset(memory.base, 0xa5, count) }
    return UnsafeRawBufferPointer(rebasing: buffer[..<(try file.readFully(into: buffer, at: offset))])
  }

  /// Why `count` bytes at `offset` cannot be read; nil when they can.
  func failure(_ count: Int, at offset: UInt64) -> Errno? {
    do throws(Errno) {
      _ = try read(count, at: offset)
      return nil
    } catch {
      return error
    }
  }

  /// Whether `count` bytes at `offset` are as in `content`.
  func matches(_ content: RawContent, _ count: Int, at offset: UInt64) throws -> Bool {
    let bytes = try read(count, at: offset)
    return bytes.count == count && memcmp(bytes.baseAddress!, content.base + Int(offset), count) == 0
  }

  /// Compares the disk with `content`: all of it, or where there is something but zeroes, and some of the rest.
  func compare(with content: RawContent, whole: Bool = true, _ comment: Comment) throws {
    try #require(size == UInt64(content.count), comment)
    let step = whole ? Self.step : RawContent.step
    for offset in whole ? Array(stride(from: 0, to: content.count, by: step)) : content.samples {
      let count = min(step, content.count - offset)
      let isEqual = try matches(content, count, at: UInt64(offset))
      try #require(isEqual, "\(comment), at \(offset)")
    }
  }
}

/// The bytes that a disk should have, in a file that is mapped.
final class RawContent: Sendable {
  static let step = 1 << 16

  private let memory: MemoryMapping
  var base: UnsafeMutableRawPointer { memory.base }
  /// Where the pieces of `step` bytes begin that are not all zeroes, and one in 32 of the others.
  let samples: [Int]
  var count: Int { memory.count }

  init(_ path: String) throws {
    let file = try Descriptor.open(path)
    let size = Int(try file.status().st_size)
    memory = try MemoryMapping(
      count: size, protection: PROT_READ, flags: MAP_PRIVATE, file: file.rawValue, offset: 0)
    let bytes = UnsafeRawBufferPointer(start: memory.base, count: size)
    samples = stride(from: 0, to: size, by: Self.step).filter {
      let piece = UnsafeRawBufferPointer(rebasing: bytes[$0..<min($0 + Self.step, size)])
      return $0 / Self.step % 32 == 31 || !isZero(piece)
    }
  }
}

/// Whether all bytes are zero: the first is, and each equals the one before it.
func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
  bytes.isEmpty || bytes[0] == 0 && memcmp(bytes.baseAddress!, bytes.baseAddress! + 1, bytes.count - 1) == 0
}
