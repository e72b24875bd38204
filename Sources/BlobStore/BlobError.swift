import Posix
import Registry
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
  /// Something of the node's cache: `path` is a folder, a file or a blob.
  case cache(what: String, path: String, Errno)
  /// The cache's folder is on a disk that this program may serve.
  case cacheOnOwnDevice(path: String, device: String)
  /// Two say different things of the size of one blob. `where` is who says `found`.
  case sizeMismatch(digest: String, expected: UInt64, found: UInt64, where: String)
  /// A digest that is not `sha256:` and 64 lower-case hexadecimal digits.
  case notDigest(String)
  /// More bytes than any blob has.
  case tooLarge(blob: String, size: UInt64)
  /// A file has another digest than was said.
  case wrongDigest(path: String, expected: String, found: String)
  /// All of a blob came, and its sha256 is another one.
  case wrongBlob(blob: String, expected: String, found: String)
  /// A file was changed while it was read.
  case changed(path: String)
  /// A file is larger than the cache may be.
  case noRoom(path: String, size: UInt64, limit: UInt64)
  /// The registry does not say how large the blob is.
  case sizeUnknown(blob: String)
  /// The registry could not give it.
  case registry(RegistryError)
  /// The registry's answer ended early, without an error.
  case cut(blob: String, chunk: Int)
  /// `wanted` bytes at `offset` of the blob did not come in time.
  case timedOut(blob: String, offset: UInt64, wanted: Int)
  /// The store has been stopped.
  case stopped
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
    case .cache(let what, let path, let errno):
      "the cache's \(path) \(what): \(errno)"
    case .cacheOnOwnDevice(let path, let device):
      "the cache's folder \(path) is on /dev/\(device), a disk that is served from a cache: choose a folder elsewhere"
    case .sizeMismatch(let digest, let expected, let found, let place):
      "\(digest): expected \(expected) bytes, \(place) says \(found)"
    case .notDigest(let text):
      "\(text) is no digest: that is sha256: and 64 lower-case hexadecimal digits"
    case .tooLarge(let blob, let size):
      "\(blob): \(size) bytes; a blob has at most \(ChunkMap.blobBytesMax)"
    case .wrongDigest(let path, let expected, let found):
      "\(path): its digest is \(found), not \(expected): nothing was imported"
    case .wrongBlob(let blob, let expected, let found):
      "\(blob): what came is \(found), not \(expected): the registry, or something on the way, sends wrong bytes; it is asked "
        + "again in a minute"
    case .changed(let path):
      "\(path): changed while it was read; import it when nobody writes to it"
    case .noRoom(let path, let size, let limit):
      "\(path): \(size) bytes, and the cache may have \(limit): raise its limit in the service configuration"
    case .sizeUnknown(let blob):
      "\(blob): the registry does not say how large it is; give its size in the configuration"
    case .registry(let error):
      "\(error)"
    case .cut(let blob, let chunk):
      "\(blob): the answer ended before chunk \(chunk)"
    case .timedOut(let blob, let offset, let wanted):
      "\(blob): \(wanted) bytes at offset \(offset) did not come in time"
    case .stopped:
      "the server is stopping"
    }
  }
}
