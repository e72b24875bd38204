import Glibc
import Posix

/// A file of noise for reads, without a name.
struct TestFile: ~Copyable {
  let descriptor: Descriptor
  let bytes: [UInt8]

  /// `count` bytes, each page of them different.
  init(_ count: Int) throws {
    let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    let path = "\(folder)/warmblk-ring.\(getpid()).\(UInt64.random(in: 0 ... .max))"
    let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
    unlink(path)
    let content = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 167 ^ $0 >> 12) }
    try content.withUnsafeBytes { try file.writeFully($0) }
    bytes = content
    descriptor = file
  }
}

/// Memory that the kernel reads into, filled with a pattern that no read leaves.
final class Target {
  static let untouched: UInt8 = 0xa5
  let memory: UnsafeMutableRawBufferPointer

  init(_ count: Int) {
    memory = .allocate(byteCount: count, alignment: 4096)
    memory.initializeMemory(as: UInt8.self, repeating: Self.untouched)
  }

  deinit { memory.deallocate() }

  var base: UnsafeMutableRawPointer { memory.baseAddress! }
  var bytes: [UInt8] { [UInt8](memory) }
  var isUntouched: Bool { memory.allSatisfy { $0 == Self.untouched } }
}
