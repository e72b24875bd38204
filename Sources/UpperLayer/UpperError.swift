import LSMT
import Posix

/// Why the files of a writable layer cannot be made, opened or changed. Whatever is refused on opening was not touched.
public enum UpperError: Error, Equatable, Sendable {
  /// A system call on a file failed.
  case system(call: String, path: String, Errno)
  /// The path is a folder, a device, a pipe or a socket.
  case notRegularFile(path: String)
  /// Another process, or this one, has the layer open; `pid` as far as the kernel tells.
  case inUse(path: String, pid: Int32?)
  /// A header of a file is damaged or of another kind of file.
  case layer(path: String, LSMTError)
  /// The data file has its final index: it is a layer that is only read.
  case sealed(path: String)
  /// The index file has `size` bytes, where the kind of the data file wants none (sparse) or some (append-only).
  case wrongKind(data: String, kind: UpperFiles.Kind, index: String, indexSize: UInt64)
  /// Data and index file belong to different layers.
  case otherIndex(data: String, uuid: LayerUUID, index: String, indexUUID: LayerUUID)
  /// The layer was made on top of another one than the image has.
  case otherParent(path: String, expected: LayerUUID, found: LayerUUID)
  /// A file, or the folder of the index file, which is replaced there, cannot be written.
  case notWritable(path: String, Errno)
  /// The layer is a sparse one, in which nothing is overwritten that could be given back.
  case sparse(path: String)
  /// The file system cannot keep a sparse layer.
  case unfitFileSystem(path: String, reason: String)
  /// A file that was to be made is there already.
  case exists(path: String)
  /// Neither the layer nor the layers below say how large the device is.
  case noVirtualSize(path: String)
  /// A device cannot have so many bytes.
  case invalidSize(path: String, bytes: UInt64, reason: String)
  /// A sealed layer would have more entries than readers open.
  case tooManyEntries(path: String, count: Int, limit: UInt64)
  /// Something cannot be had of the folder for entries that no flush has covered yet.
  case pendingLog(path: String, call: String, Errno)
}

extension UpperError: CustomStringConvertible {
  /// What was tried, on which file, what was found, what to do.
  public var description: String {
    switch self {
    case .system(let call, let path, let errno):
      "\(path): \(call): \(errno)"
    case .notRegularFile(let path):
      "\(path): not a regular file, so it cannot be part of a writable layer; name the file itself"
    case .inUse(let path, let pid):
      "\(path): in use by \(pid.map { "process \($0)" } ?? "another process"): a writable layer has one user; stop that "
        + "one, or make another layer for this device"
    case .layer(let path, let error):
      "\(path): \(error)"
    case .sealed(let path):
      "\(path): this layer is sealed, so it is only read: list it among the lower layers and make a new writable one"
    case .wrongKind(let data, .sparse, let index, let indexSize):
      "\(index): has \(indexSize) bytes, but \(data) is a sparse writable layer, whose index file is empty: one of the two "
        + "belongs to another layer"
    case .wrongKind(let data, .append, let index, let indexSize):
      "\(index): has \(indexSize) bytes, but \(data) is an append-only writable layer, whose index file has a header of "
        + "\(LayerRecord.size) bytes: one of the two belongs to another layer, or the index file was cut"
    case .otherIndex(let data, let uuid, let index, let indexUUID):
      "\(index): belongs to the layer \(indexUUID), and \(data) is of the layer \(uuid): name the two files of one layer"
    case .otherParent(let path, let expected, let found):
      "\(path): was made on top of the layer \(found), and the topmost lower layer is \(expected): use the image that it "
        + "was made for, or make a new writable layer"
    case .notWritable(let path, let errno):
      "\(path): \(errno): the files of a writable layer and their folder must be writable: change their permissions, move "
        + "them to a file system that can be written, or make a new writable layer elsewhere"
    case .sparse(let path):
      "\(path): a sparse writable layer, which has no garbage: what is overwritten takes no new space, and what is discarded "
        + "is given back at once"
    case .unfitFileSystem(let path, let reason):
      "\(path): its file system cannot keep a sparse writable layer: \(reason): use another one, such as ext4, xfs, btrfs or "
        + "tmpfs, or an append-only layer"
    case .exists(let path):
      "\(path): is there already, and a new writable layer overwrites nothing: remove it or choose another name"
    case .noVirtualSize(let path):
      "\(path): says that its device is as large as the layers below, and there are none that say a size: make it with a "
        + "size"
    case .invalidSize(let path, let bytes, let reason):
      "\(path): a device of \(bytes) bytes: \(reason)"
    case .tooManyEntries(let path, let count, let limit):
      "\(path): sealing it would make an index of \(count) entries, and readers of layers accept \(limit): commit it "
        + "into a new layer instead, which joins entries"
    case .pendingLog(let path, let call, let errno):
      "\(path), which keeps what no flush has covered yet over a restart of the server: \(call): \(errno)"
    }
  }
}
