import CLinux
import Glibc
import Posix

/// The files of a writable layer on a real disk. The data file is locked (`flock`) as long as this object lives.
final class FileDisk: UpperDisk, @unchecked Sendable {
  let indexPath: String
  /// Whether both files are on file systems that keep them in memory only.
  let isInMemory: Bool
  private let data: Descriptor
  /// Changed by ``replaceIndex(with:)`` only.
  private var index: Descriptor

  init(data: consuming Descriptor, index: consuming Descriptor, indexPath: String) {
    isInMemory = Self.isInMemory(data.rawValue) && Self.isInMemory(index.rawValue)
    self.data = data
    self.index = index
    self.indexPath = indexPath
  }

  private static func isInMemory(_ descriptor: Int32) -> Bool {
    var system = statfs()
    guard fstatfs(descriptor, &system) == 0 else { return false }
    // Both magics are 32 bits in a signed word whose width differs between machines.
    let magic = UInt32(truncatingIfNeeded: system.f_type)
    return magic == UInt32(TMPFS_MAGIC) || magic == UInt32(RAMFS_MAGIC)
  }

  var dataDescriptor: Int32 { data.rawValue }

  /// Lets others open the layer.
  func unlock() { _ = flock(data.rawValue, LOCK_UN) }

  func dataSize() throws(Errno) -> UInt64 { UInt64(try data.status().st_size) }

  func allocatedDataBytes() throws(Errno) -> UInt64 { UInt64(try data.status().st_blocks) * 512 }

  func readData(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    try data.readFully(into: buffer, at: offset)
  }

  func writeData(_ vectors: UnsafeBufferPointer<iovec>, at offset: UInt64) throws(Errno) -> Int {
    // Of a single vector the kernel need not fetch and check a table.
    let written =
      vectors.count == 1
      ? pwrite(data.rawValue, vectors[0].iov_base, vectors[0].iov_len, Int(truncatingIfNeeded: offset))
      : clinux_pwritev(
        data.rawValue, vectors.baseAddress, Int32(truncatingIfNeeded: vectors.count), Int64(bitPattern: offset))
    if written < 0 { throw .last }
    return written
  }

  func synchronizeData() throws(Errno) { _ = try retryingInterrupts { fdatasync(data.rawValue) } }

  func resizeData(to size: UInt64) throws(Errno) { try data.truncate(to: size) }

  func punchData(at offset: UInt64, count: UInt64) throws(Errno) {
    _ = try retryingInterrupts {
      clinux_punch_hole(data.rawValue, Int64(bitPattern: offset), Int64(bitPattern: count))
    }
  }

  func nextData(from offset: UInt64) throws(Errno) -> Range<UInt64>? {
    let start = clinux_seek_data(data.rawValue, Int64(bitPattern: offset))
    if start < 0 {
      if Errno.last.rawValue == ENXIO { return nil }
      throw .last
    }
    let end = clinux_seek_hole(data.rawValue, start)
    if end < 0 { throw .last }
    return UInt64(start)..<UInt64(end)
  }

  func indexSize() throws(Errno) -> UInt64 { UInt64(try index.status().st_size) }

  func indexInode() throws(Errno) -> UInt64 { UInt64(try index.status().st_ino) }

  func readIndex(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) -> Int {
    try index.readFully(into: buffer, at: offset)
  }

  func writeIndex(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Errno) {
    try index.writeFully(bytes, at: offset)
  }

  func synchronizeIndex() throws(Errno) { _ = try retryingInterrupts { fdatasync(index.rawValue) } }

  func resizeIndex(to size: UInt64) throws(Errno) { try index.truncate(to: size) }

  func replaceIndex(with bytes: [UInt8]) throws(Errno) {
    let temporaryPath = Self.temporaryPath(of: indexPath)
    let status = try index.status()
    _ = unlink(temporaryPath)
    do throws(Errno) {
      let new = try Descriptor.open(temporaryPath, O_RDWR | O_CREAT | O_EXCL, mode: 0o600)
      // As the old one was: the next server may run under another account. Only root may give files away.
      _ = fchown(new.rawValue, status.st_uid, status.st_gid)
      if fchmod(new.rawValue, status.st_mode & 0o7777) != 0 { throw .last }
      let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
        do throws(Errno) { return .success(try new.writeFully(buffer, at: 0)) } catch { return .failure(error) }
      }
      try result.get()
      try new.synchronize()
      if rename(temporaryPath, indexPath) != 0 { throw .last }
      index = new
    } catch {
      _ = unlink(temporaryPath)
      throw error
    }
  }

  func synchronizeFolder() throws(Errno) {
    try Descriptor.open(folderPath(of: indexPath), O_RDONLY | O_DIRECTORY).synchronize()
  }

  /// Where a new index file is made before it gets its name. A crash may leave one.
  static func temporaryPath(of indexPath: String) -> String { "\(indexPath).warmblk-new" }
}

/// The folder that `path` is in.
func folderPath(of path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}
