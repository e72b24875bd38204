import CLinux
import Glibc
import Posix
import ZFile

/// How a file answers best. What decides is whether io_uring can read it without a kernel worker thread.
public enum ReadMethod: String, Sendable, Codable {
  /// Through the ring: reads of cached pages come back inline (ext4, xfs, btrfs).
  case ring
  /// Plain `pread`: the file is in memory, and io_uring would hand the read to a worker thread (tmpfs, ramfs).
  case memory
  /// Through the ring, answered by kernel workers: the file system cannot say whether a read would block.
  case worker
}

/// The file of one layer on this machine, open for reading and unwrapped from its tar.
///
/// Immutable after opening, so that any number of threads may read it.
public final class LocalBlob: Sendable {
  /// The path that it was opened by.
  public let path: String
  /// Bytes of the whole file, tar included.
  public let fileSize: UInt64
  /// Where the layer begins in the file: 0, or after the tar's headers.
  public let payloadOffset: UInt64
  /// Bytes of the layer.
  public let payloadSize: UInt64
  /// Whether there is a tar around the layer.
  public let isTarWrapped: Bool
  /// How the device should read it.
  public let readMethod: ReadMethod
  private let descriptor: Descriptor

  /// The open file, for the ring; it lives as long as this object.
  public var fd: Int32 { descriptor.rawValue }

  /// Opens the regular file at `path` and looks through its tar, if there is one.
  public init(path: String) throws(BlobError) {
    // Looked at before opening, because opening a pipe would wait for its other end.
    var kind = stat()
    guard stat(path, &kind) == 0 else { throw .system(call: "stat", path: path, .last) }
    guard kind.st_mode & S_IFMT == S_IFREG else { throw .notRegularFile(path: path) }
    do throws(Errno) {
      descriptor = try Descriptor.open(path)
      fileSize = UInt64(max(0, try descriptor.status().st_size))
      readMethod = try descriptor.readMethod()
    } catch {
      throw .system(call: "opening", path: path, error)
    }
    self.path = path
    let wrapper = try Self.wrapper(of: descriptor, path: path, fileSize: fileSize)
    isTarWrapped = wrapper != nil
    payloadOffset = wrapper?.payloadOffset ?? 0
    payloadSize = wrapper?.payloadSize ?? fileSize
  }

  /// Fills `buffer` from `offset` of the payload, or throws: never less, never zeroes for what is missing.
  public func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlobError) {
    let (end, overflow) = offset.addingReportingOverflow(UInt64(buffer.count))
    guard !overflow, end <= payloadSize else {
      throw .outOfBounds(
        path: path, offset: payloadOffset.addingReportingOverflow(offset).partialValue, wanted: buffer.count,
        payloadEnd: payloadOffset + payloadSize)
    }
    try readFile(buffer, at: payloadOffset + offset)
  }

  /// Fills `buffer` from `offset` of the file, the tar's own bytes included.
  func readFile(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlobError) {
    try descriptor.readExactly(buffer, at: offset, path: path)
  }
}

extension LocalBlob {
  /// What the tar headers say, checked against the file; nil when there is no tar.
  private static func wrapper(
    of descriptor: borrowing Descriptor, path: String, fileSize: UInt64
  ) throws(BlobError) -> TarWrapper? {
    let prefix = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Int(min(fileSize, UInt64(TarWrapper.prefixSize))), alignment: 8)
    defer { prefix.deallocate() }
    try descriptor.readExactly(prefix, at: 0, path: path)
    do throws(ZFileError) {
      return try TarWrapper(parsing: UnsafeRawBufferPointer(prefix).bytes, fileSize: fileSize)
    } catch {
      throw .tar(path: path, error)
    }
  }
}

extension Descriptor {
  /// Fills `buffer` from `offset` of the file or throws.
  fileprivate borrowing func readExactly(
    _ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, path: String
  ) throws(BlobError) {
    let got: Int
    do throws(Errno) {
      got = try readFully(into: buffer, at: offset)
    } catch {
      throw .read(path: path, offset: offset, wanted: buffer.count, error)
    }
    guard got == buffer.count else {
      throw .shortRead(path: path, offset: offset, wanted: buffer.count, got: got)
    }
  }

  /// Asks the file system, and where its name does not tell, tries a read that must not block.
  fileprivate borrowing func readMethod() throws(Errno) -> ReadMethod {
    var system = statfs()
    guard fstatfs(rawValue, &system) == 0 else { throw .last }
    // Both magics are 32 bits in a signed word whose width differs between machines.
    let magic = UInt32(truncatingIfNeeded: system.f_type)
    if magic == UInt32(TMPFS_MAGIC) || magic == UInt32(RAMFS_MAGIC) { return .memory }
    var byte: UInt8 = 0
    do throws(Errno) {
      _ = try retryingInterrupts { clinux_pread_nowait(rawValue, &byte, 1, 0) }
    } catch .notSupported {
      return .worker
    } catch .again {
      return .ring
    }
    return .ring
  }
}
