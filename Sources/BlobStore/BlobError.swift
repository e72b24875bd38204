import Posix
import ZFile

/// Why the bytes of a blob cannot be had.
public enum BlobError: Error, Equatable, Sendable {
  /// A system call on the file failed.
  case system(call: String, path: String, Errno)
  /// The path is a directory, a device, a pipe or a socket.
  case notRegularFile(path: String)
  /// `wanted` bytes at `offset` of the file; the call failed.
  case read(path: String, offset: UInt64, wanted: Int, Errno)
  /// `wanted` bytes at `offset` of the file; it ended after `got`.
  case shortRead(path: String, offset: UInt64, wanted: Int, got: Int)
  /// A range that the payload does not have. `offset` is in the file.
  case outOfBounds(path: String, offset: UInt64, wanted: Int, payloadEnd: UInt64)
  /// The tar around the layer is damaged.
  case tar(path: String, ZFileError)
}

extension BlobError: CustomStringConvertible {
  /// What was tried, on which file, what came back.
  public var description: String {
    switch self {
    case .system(let call, let path, let errno):
      "\(path): \(call): \(errno)"
    case .notRegularFile(let path):
      "\(path): not a regular file, so it cannot be a layer; name the blob itself"
    case .read(let path, let offset, let wanted, let errno):
      "\(path): reading \(wanted) bytes at offset \(offset): \(errno)"
    case .shortRead(let path, let offset, let wanted, let got):
      "\(path): wanted \(wanted) bytes at offset \(offset), the file ended after \(got): it was cut; fetch it again"
    case .outOfBounds(let path, let offset, let wanted, let payloadEnd):
      "\(path): \(wanted) bytes at offset \(offset) are past the end of the layer at \(payloadEnd)"
    case .tar(let path, let error):
      "\(path): in the tar around the layer: \(error)"
    }
  }
}
