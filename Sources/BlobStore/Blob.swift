import Glibc
import Posix
import ZFile

/// The bytes of one layer, unwrapped from its tar: a file of this machine, or a blob of a registry.
///
/// Immutable after opening, so that any number of threads may read it.
public final class Blob: Sendable {
  /// The path that it was opened by, or its URL.
  public let path: String
  /// Bytes of the whole file, tar included.
  public let fileSize: UInt64
  /// Where the layer begins in the file: 0, or after the tar's headers.
  public let payloadOffset: UInt64
  /// Bytes of the layer.
  public let payloadSize: UInt64
  /// Whether there is a tar around the layer.
  public let isTarWrapped: Bool
  /// How the device should read ``fd``.
  public let readMethod: ReadMethod
  /// Where its bytes come from when they are not here; nil for a file of this machine.
  public let remote: RemoteSource?
  private let source: Source

  /// The open file, for the ring; it lives as long as this object. Of a remote blob the cache's, which has holes.
  public var fd: Int32 {
    switch source {
    case .file(let descriptor): descriptor.rawValue
    case .remote(let remote): remote.blob.cacheDescriptor
    }
  }

  /// Opens the regular file at `path` and looks through its tar, if there is one. `openPath`: another way to the same file,
  /// where `path` does not lead to it.
  public convenience init(path: String, openedBy openPath: String? = nil) throws(BlobError) {
    // Looked at before opening, because opening a pipe would wait for its other end.
    var kind = stat()
    guard stat(openPath ?? path, &kind) == 0 else { throw .system(call: "stat", path: path, .last) }
    guard kind.st_mode & S_IFMT == S_IFREG else { throw .notRegularFile(path: path) }
    let descriptor: Descriptor
    let size: UInt64
    let method: ReadMethod
    do throws(Errno) {
      let file = try Descriptor.open(openPath ?? path)
      size = UInt64(max(0, try file.status().st_size))
      method = try ReadMethod(of: file.rawValue)
      descriptor = file
    } catch {
      throw .system(call: "opening", path: path, error)
    }
    try self.init(.file(descriptor), path: path, size: size, method: method, remote: nil)
  }

  /// Looks through the tar of a blob of a registry, if there is one.
  public convenience init(remote: RemoteSource) throws(BlobError) {
    let method: ReadMethod
    do throws(Errno) { method = try ReadMethod(of: remote.blob.cacheDescriptor) } catch {
      throw .system(call: "reading the cache of", path: remote.blob.name, error)
    }
    try self.init(.remote(remote), path: remote.blob.name, size: remote.blob.size, method: method, remote: remote)
  }

  private init(
    _ source: consuming Source, path: String, size: UInt64, method: ReadMethod, remote: RemoteSource?
  ) throws(BlobError) {
    let prefix = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Int(min(size, UInt64(TarWrapper.prefixSize))), alignment: 8)
    defer { prefix.deallocate() }
    try source.read(prefix, at: 0, path: path)
    let wrapper: TarWrapper?
    do throws(ZFileError) {
      wrapper = try TarWrapper(parsing: UnsafeRawBufferPointer(prefix).bytes, fileSize: size)
    } catch {
      throw .tar(path: path, error)
    }
    self.source = source
    self.path = path
    self.remote = remote
    fileSize = size
    readMethod = method
    isTarWrapped = wrapper != nil
    payloadOffset = wrapper?.payloadOffset ?? 0
    payloadSize = wrapper?.payloadSize ?? size
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
    try source.read(buffer, at: offset, path: path)
  }
}

/// What is behind a blob.
private enum Source: ~Copyable, Sendable {
  case file(Descriptor)
  case remote(RemoteSource)

  /// Fills `buffer` from `offset` of the file or throws.
  borrowing func read(
    _ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, path: String
  ) throws(BlobError) {
    switch self {
    case .file(let descriptor): try descriptor.readExactly(buffer, at: offset, path: path)
    case .remote(let remote):
      try remote.store.read(
        remote.blob, into: buffer, at: offset, .demand, deadline: Deadline(milliseconds: remote.patience))
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
}
