import BlobStore
import Glibc
import LSMT

/// Which file a path leads to, however it is spelled.
struct FileIdentity: Equatable {
  private let device: UInt64
  private let inode: UInt64

  /// nil when nothing is there.
  init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    self.init(status)
  }

  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }
}

extension LayerUUID {
  /// A random one (RFC 9562, version 4).
  public static func random() -> LayerUUID {
    var bytes = (0..<16).map { _ in UInt8.random(in: 0...255) }
    bytes[6] = bytes[6] & 0x0f | 0x40
    bytes[8] = bytes[8] & 0x3f | 0x80
    return LayerUUID(bytes: bytes)!
  }
}

extension OutputFile {
  /// Opens what was written, as readers will, and returns its digest.
  func checkedLayer(virtualSize: UInt64, segmentCount: UInt64) throws(ImageError) -> String {
    let blob = try blob()
    let layer = try Layer.open(blob, size: size).layer
    precondition(layer.record.virtualSize == virtualSize && UInt64(layer.segmentCount) == segmentCount)
    return try digest(of: blob)
  }

  /// `sha256:<hex>` of what was written.
  func digest() throws(ImageError) -> String { try digest(of: try blob()) }

  private func blob() throws(ImageError) -> Blob {
    do throws(BlobError) { return try Blob(path: temporaryPath) } catch { throw .blob(error) }
  }

  private func digest(of blob: Blob) throws(ImageError) -> String {
    do throws(BlobError) { return "sha256:\(try blob.sha256())" } catch { throw .blob(error) }
  }
}

extension [UInt8] {
  /// The end of a layer with another virtual size in its trailer.
  func resized(to virtualSize: UInt64) throws(ImageError) -> [UInt8] {
    let start = count - LayerRecord.size
    let last = Array(self[start...])
    do throws(LSMTError) {
      var trailer = try LayerRecord(parsing: last.span.bytes, as: .trailer)
      trailer.virtualSize = virtualSize
      return Array(self[..<start]) + trailer.encoded()
    } catch {
      preconditionFailure("a trailer of our own cannot be read: \(error)")
    }
  }
}

extension OutputFile {
  /// Copies everything into `file`.
  func copy(to file: LayerFile) throws(ImageError) {
    let buffer = Bytes(count: stepSize)
    var offset: UInt64 = 0
    while offset < size {
      let part = buffer.part(0..<Int(min(size - offset, UInt64(buffer.count))))
      try read(into: part, at: offset)
      try file.append(UnsafeRawBufferPointer(part))
      offset += UInt64(part.count)
    }
  }
}
