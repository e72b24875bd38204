import CLinux
import Glibc
import Posix

extension PendingLog {
  /// Where the data file of a log was when it was opened last, and how to ask its file system for it by itself:
  ///
  ///     280   u32  form of what follows, 1; 0 for none
  ///     284   u32  bytes of the path
  ///     288   u32  bytes of the handle, 0 for none, 292 i32 its type
  ///     296   128  the handle (`name_to_handle_at`)
  ///     512   3584 the path
  ///
  /// Programs that do not know it leave it alone.
  struct Origin: Equatable {
    static let form: UInt32 = 1
    static let pathBytesMax = PendingLog.headerBytes - 512

    var path: String
    var handle: FileHandle?

    /// Of an open data file; nil when the path is no absolute one, or too long to be kept.
    init?(_ file: borrowing Descriptor, path: String) {
      guard path.hasPrefix("/"), path.utf8.count <= Self.pathBytesMax else { return nil }
      self.path = path
      handle = FileHandle(file)
    }

    /// From a header of a log.
    init?(at base: UnsafeRawPointer) {
      let count = Int(base.load(fromByteOffset: 284, as: UInt32.self))
      guard base.load(fromByteOffset: 280, as: UInt32.self) == Self.form, (1...Self.pathBytesMax).contains(count) else {
        return nil
      }
      path = String(decoding: UnsafeRawBufferPointer(start: base + 512, count: count), as: UTF8.self)
      let handleCount = Int(base.load(fromByteOffset: 288, as: UInt32.self))
      handle =
        (1...FileHandle.bytesMax).contains(handleCount)
        ? FileHandle(
          type: base.load(fromByteOffset: 292, as: Int32.self),
          bytes: Array(UnsafeRawBufferPointer(start: base + 296, count: handleCount))) : nil
    }

    func store(at base: UnsafeMutableRawPointer) {
      base.storeBytes(of: UInt32(path.utf8.count), toByteOffset: 284, as: UInt32.self)
      (base + 512).copyMemory(from: Array(path.utf8), byteCount: path.utf8.count)
      base.storeBytes(of: UInt32(handle?.bytes.count ?? 0), toByteOffset: 288, as: UInt32.self)
      guard let handle else { return }
      base.storeBytes(of: handle.type, toByteOffset: 292, as: Int32.self)
      (base + 296).copyMemory(from: handle.bytes, byteCount: handle.bytes.count)
    }
  }
}

/// What a file system calls a file, whatever its paths: another file that gets the inode later has another one.
struct FileHandle: Equatable {
  static let bytesMax = 128

  var type: Int32
  var bytes: [UInt8]

  init(type: Int32, bytes: [UInt8]) {
    self.type = type
    self.bytes = bytes
  }

  /// Of an open file; nil where the file system has none.
  init?(_ file: borrowing Descriptor) {
    var bytes = [UInt8](repeating: 0, count: Self.bytesMax)
    var type: Int32 = 0
    let count = clinux_file_handle(file.rawValue, &bytes, UInt32(bytes.count), &type)
    guard count > 0 else { return nil }
    self.init(type: type, bytes: Array(bytes.prefix(Int(count))))
  }

  /// Whether the file system that `folder` is on still has the file; nil when it does not tell, or its word is worth nothing.
  func exists(on folder: borrowing Descriptor) -> Bool? {
    // Of others (FUSE, network file systems) a file that nobody has in use may be unknown by its handle.
    guard Self.trusted.contains(UInt32(truncatingIfNeeded: clinux_file_system_type(folder.rawValue))) else {
      return nil
    }
    let file = clinux_open_handle(folder.rawValue, type, bytes, UInt32(bytes.count))
    if file >= 0 {
      close(file)
      return true
    }
    return Errno.last == .stale ? false : nil
  }

  /// ext2 to ext4, xfs, btrfs, f2fs, tmpfs: linux/magic.h.
  private static let trusted: Set<UInt32> = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994]
}
