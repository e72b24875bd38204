import BlobStore
import Glibc
import LSMT
import Posix

/// Writes the merged view of an image as a raw disk image. Holes stay holes, and blocks of 4096 zero bytes are not
/// written either.
public struct Exporter: ~Copyable {
  private let image: Image
  private let path: String
  private let descriptor: Descriptor
  private var reader: ImageReader
  private let buffer = Bytes(count: stepSize)
  private var writtenBytes: UInt64 = 0

  /// Bytes that are written or left out as one.
  private static let grain = 4096

  /// Writes `image` to `path`, which must not exist unless `force` allows to replace it. Returns the bytes that were
  /// written. What fails is removed. `progress` is told bytes of the device.
  public static func run(
    _ image: Image, to path: String, force: Bool = false, progress: (Progress) -> Void = { _ in }
  ) throws(ImageError) -> UInt64 {
    let descriptor = try create(path, force: force, image: image)
    do throws(ImageError) {
      var exporter = Exporter(image: image, path: path, descriptor: descriptor, reader: ImageReader(image))
      return try exporter.run(progress)
    } catch {
      _ = unlink(path)
      throw error
    }
  }

  private init(image: Image, path: String, descriptor: consuming Descriptor, reader: consuming ImageReader) {
    self.image = image
    self.path = path
    self.descriptor = descriptor
    self.reader = reader
  }

  /// Opens the output, empty.
  private static func create(_ path: String, force: Bool, image: Image) throws(ImageError) -> Descriptor {
    let descriptor = try open(path, force: force)
    let status: stat
    do throws(Errno) { status = try descriptor.status() } catch {
      throw .system(call: "fstat", path: path, error)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .refused("\(path): is not a regular file, and only that can have holes")
    }
    for file in image.files where FileIdentity(path: file) == FileIdentity(status) {
      throw .refused("\(path): is a file of the image, which cannot be replaced by it")
    }
    do throws(Errno) { try descriptor.truncate(to: 0) } catch {
      throw .system(call: "emptying", path: path, error)
    }
    return descriptor
  }

  /// Not truncated by opening: it could be a layer of the image itself.
  private static func open(_ path: String, force: Bool) throws(ImageError) -> Descriptor {
    do throws(Errno) {
      return try Descriptor.open(path, O_WRONLY | O_CREAT | (force ? O_NONBLOCK : O_EXCL))
    } catch .exists {
      throw .refused("\(path): exists already; choose another name, or force it to be replaced")
    } catch {
      throw .system(call: "creating", path: path, error)
    }
  }

  private mutating func run(_ progress: (Progress) -> Void) throws(ImageError) -> UInt64 {
    try image.forEachStoredRange { range throws(ImageError) in
      let part = buffer.part(0..<range.count)
      try reader.read(into: part, at: range.lowerBound)
      try write(UnsafeRawBufferPointer(part), at: range.lowerBound)
      progress(Progress(done: range.upperBound, total: image.virtualSize))
    }
    try system("setting the size of") { () throws(Errno) in try descriptor.truncate(to: image.virtualSize) }
    try system("fsync") { () throws(Errno) in try descriptor.synchronize() }
    return writtenBytes
  }

  private mutating func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(ImageError) {
    var runStart = 0
    var start = 0
    while start < bytes.count {
      let misplaced = Int((offset + UInt64(start)) % UInt64(Self.grain))
      let end = min(bytes.count, start + Self.grain - misplaced)
      if isZero(bytes.part(start..<end)) {
        try writeRun(bytes.part(runStart..<start), at: offset + UInt64(runStart))
        runStart = end
      }
      start = end
    }
    try writeRun(bytes.part(runStart..<bytes.count), at: offset + UInt64(runStart))
  }

  private mutating func writeRun(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(ImageError) {
    if bytes.isEmpty { return }
    try system("writing \(bytes.count) bytes at \(offset)") { () throws(Errno) in
      try descriptor.writeFully(bytes, at: offset)
    }
    writtenBytes += UInt64(bytes.count)
  }

  private borrowing func system(_ call: String, _ body: () throws(Errno) -> Void) throws(ImageError) {
    do throws(Errno) { try body() } catch { throw .system(call: call, path: path, error) }
  }
}
