import BlobStore
import FileSystems
import LSMT
import Posix
import Trace
import UpperLayer
import ZFile

/// Why an image cannot be opened, read, written or converted.
public enum ImageError: Error, Equatable, Sendable {
  /// A system call failed while doing `call`.
  case system(call: String, path: String, Errno)
  /// A configuration is not the JSON that it should be; `key` is empty when it is not JSON at all.
  case json(name: String, key: String, String)
  /// A field has a value that cannot be used.
  case invalid(name: String, field: String, problem: String)
  /// A field that changes what is read, and that this version does not serve.
  case unsupported(name: String, field: String, advice: String)
  /// No file for a layer. `field` is like `lowers[1]`.
  case layerNotFound(name: String, field: String, looked: [String], digest: String?)
  /// A layer is in a registry, where only files of this machine are of use.
  case remoteLayer(name: String, field: String, url: String)
  /// The file's bytes cannot be had.
  case blob(BlobError)
  /// The file is something else than a layer.
  case notALayer(path: String, found: String)
  /// The configuration says another size than the file has.
  case sizeMismatch(path: String, expected: UInt64, found: UInt64)
  /// The layer's LSMT structures are damaged.
  case layer(path: String, LSMTError)
  /// The layer's ZFile structures are damaged; `offset` is in the file.
  case zfile(path: String, offset: UInt64, ZFileError)
  /// A ZFile block is damaged; `offset` is where it is stored in the file.
  case block(path: String, block: Int, offset: UInt64, ZFileError)
  /// `wanted` bytes at `offset` of something that has `size` bytes.
  case outOfBounds(path: String, offset: UInt64, wanted: Int, size: UInt64)
  /// The layers cannot be merged.
  case stack(name: String, LSMTError)
  /// The files of the upper cannot be made, opened or changed.
  case upper(UpperError)
  /// The files of the image's disk, or those of an eStargz layer, cannot be found.
  case files(name: String, FileSystemError)
  /// The file is no trace, or a damaged one.
  case trace(path: String, TraceError)
  /// A layer that is being made has more segments at byte `offset` of the device than readers accept.
  case tooFragmented(path: String, offset: UInt64, entries: UInt64, advice: String)
  /// What was asked for cannot be done.
  case refused(String)
}

extension ImageError: CustomStringConvertible {
  /// What was tried, on what, what was found, what to do.
  public var description: String {
    switch self {
    case .system(let call, let path, let errno):
      "\(path): \(call): \(errno)"
    case .json(let name, let key, let problem):
      "\(name): \(key.isEmpty ? "" : "`\(key)` ")\(problem)"
    case .invalid(let name, let field, let problem):
      "\(name): `\(field)`: \(problem)"
    case .unsupported(let name, let field, let advice):
      "\(name): `\(field)` is not supported by this version: \(advice)"
    case .layerNotFound(let name, let field, let looked, let digest):
      "\(name): `\(field)`\(digest.map { " (\($0))" } ?? "") has no file on this machine: "
        + (looked.isEmpty ? "neither `file` nor `dir` is set" : "looked for \(looked.joined(separator: ", "))")
        + "; "
        + (digest == nil
          ? "name its file, or its `digest` and the image's `repoBlobUrl`"
          : "the image has no `repoBlobUrl` to fetch it from")
    case .remoteLayer(let name, let field, let url):
      "\(name): `\(field)` is in a registry, \(url), and this needs a file of this machine: `warmblk export` the image, "
        + "or download the blob into the layer's `dir`"
    case .blob(let error):
      error.description
    case .notALayer(let path, let found):
      "\(path): neither an LSMT layer nor a ZFile: \(found)"
    case .sizeMismatch(let path, let expected, let found):
      "\(path): the configuration says \(expected) bytes, the file has \(found): it is another layer, or incomplete"
    case .layer(let path, let error):
      "\(path): \(error)"
    case .zfile(let path, let offset, let error):
      "\(path): at offset \(offset): \(error)"
    case .block(let path, let block, let offset, let error):
      "\(path): compressed block \(block), stored at offset \(offset): \(error)"
    case .outOfBounds(let path, let offset, let wanted, let size):
      "\(path): \(wanted) bytes at \(offset) are past its end at \(size)"
    case .stack(let name, let error):
      "\(name): \(error)"
    case .upper(let error): error.description
    case .files(let name, let error): "\(name): \(error)"
    case .trace(let path, let error):
      "\(path): \(error)"
    case .tooFragmented(let path, let offset, let entries, let advice):
      "\(path): at byte \(offset) of the device the layer has \(entries) segments, and readers accept at most "
        + "\(SealedIndex.maxEntries): \(advice)"
    case .refused(let reason):
      reason
    }
  }
}
