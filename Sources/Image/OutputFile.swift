import Glibc
import Posix

/// A file that comes into being whole or not at all: written under a temporary name beside the final one, made durable,
/// then given its name. Removes what it wrote unless ``publish(force:)`` was reached.
final class OutputFile {
  let path: String
  let temporaryPath: String
  private let descriptor: Descriptor
  private let buffer = Bytes(count: stepSize)
  private var buffered = 0
  private var isPublished = false
  /// Bytes appended so far.
  private(set) var size: UInt64 = 0

  init(path: String) throws(ImageError) {
    self.path = path
    let name = path[path.index(after: path.lastIndex(of: "/")!)...]
    temporaryPath = "\(folder(of: path))/.\(name).\(getpid()).tmp"
    do throws(Errno) {
      descriptor = try Descriptor.open(temporaryPath, O_RDWR | O_CREAT | O_EXCL)
    } catch {
      throw .system(call: "creating", path: temporaryPath, error)
    }
  }

  deinit {
    if !isPublished { _ = unlink(temporaryPath) }
  }

  /// Adds `bytes` to the end.
  func append(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = min(rest.count, buffer.count - buffered)
      buffer.part(buffered..<buffered + count).copyMemory(from: .init(rebasing: rest.prefix(count)))
      buffered += count
      size += UInt64(count)
      rest = rest.dropFirst(count)
      if buffered == buffer.count { try flush() }
    }
  }

  /// Adds `bytes` to the end.
  func append(_ bytes: [UInt8]) throws(ImageError) {
    try bytes.span.bytes.withUnsafeBytes { bytes throws(ImageError) in try append(bytes) }
  }

  /// Writes over what was appended at `offset`.
  func overwrite(_ bytes: [UInt8], at offset: UInt64) throws(ImageError) {
    try flush()
    try bytes.span.bytes.withUnsafeBytes { bytes throws(ImageError) in try write(bytes, at: offset) }
  }

  /// Fills `part` from `offset` of what was appended.
  func read(into part: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(ImageError) {
    try flush()
    do throws(Errno) {
      let got = try descriptor.readFully(into: part, at: offset)
      if got < part.count { throw .ioError }
    } catch {
      throw .system(call: "reading back at \(offset)", path: temporaryPath, error)
    }
  }

  /// Makes everything durable under the temporary name.
  func synchronize() throws(ImageError) {
    try flush()
    do throws(Errno) { try descriptor.synchronize() } catch {
      throw .system(call: "fsync", path: temporaryPath, error)
    }
  }

  /// Gives the file its name. Without `force` a file that has the name by now is an error and stays.
  func publish(force: Bool) throws(ImageError) {
    // A link fails where a rename would replace.
    let result = force ? rename(temporaryPath, path) : link(temporaryPath, path)
    guard result == 0 else { throw .system(call: "naming the finished file", path: path, .last) }
    if !force { _ = unlink(temporaryPath) }
    isPublished = true
    do throws(Errno) {
      try Descriptor.open(folder(of: path), O_RDONLY | O_DIRECTORY).synchronize()
    } catch {
      throw .system(call: "fsync of the folder of", path: path, error)
    }
  }

  private func flush() throws(ImageError) {
    if buffered == 0 { return }
    let part = UnsafeRawBufferPointer(buffer.part(0..<buffered))
    try write(part, at: size - UInt64(buffered))
    buffered = 0
  }

  private func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(ImageError) {
    do throws(Errno) { try descriptor.writeFully(bytes, at: offset) } catch {
      throw .system(call: "writing \(bytes.count) bytes at \(offset)", path: temporaryPath, error)
    }
  }
}
