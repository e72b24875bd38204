import CLinux
import Glibc
import LSMT
import Posix

/// The two files of a writable layer, by their paths.
public struct UpperFiles: Equatable, Sendable {
  /// How the bytes of a writable layer are laid out.
  public enum Kind: String, Equatable, Sendable {
    /// Data is appended; an index file says where each sector is.
    case append
    /// Each sector has its fixed place in a sparse file; the index file is empty.
    case sparse
  }

  /// The file with the bytes.
  public let data: String
  /// The file with the entries.
  public let index: String

  /// Names the files; nothing is opened.
  public init(data: String, index: String) {
    self.data = data
    self.index = index
  }

  /// Makes the files of an empty layer, durable when this returns.
  ///
  /// `virtualSize` is the size of the device in bytes; with 0 it is adopted from the layers below when the layer is
  /// opened for the first time. Refused are files that exist, and of sparse layers file
  /// systems that cannot keep them. What was made is removed again when something fails.
  public static func create(
    data: String, index: String, kind: Kind, virtualSize: UInt64, uuid: LayerUUID, parentUUID: LayerUUID = .null
  ) throws(UpperError) {
    try checkSize(virtualSize, path: data)
    var header = LayerRecord(
      flags: LayerRecord.Flag.header | LayerRecord.Flag.dataFile | (kind == .sparse ? LayerRecord.Flag.sparse : 0),
      virtualSize: virtualSize, uuid: uuid,
      parentUUID: parentUUID)
    let dataBytes = header.encoded()
    header.flags = LayerRecord.Flag.header
    header.indexOffset = UInt64(LayerRecord.size)
    // The index first: a data file alone would look like a layer that lost something.
    try createFile(index, kind == .sparse ? [] : header.encoded())
    do throws(UpperError) {
      try createFile(data, dataBytes, size: kind == .sparse ? UInt64(LayerRecord.size) + virtualSize : nil)
    } catch {
      _ = unlink(index)
      throw error
    }
    do throws(UpperError) {
      for folder in Set([folderPath(of: data), folderPath(of: index)]) {
        try UpperError.describing("synchronizing the folder", folder) { () throws(Errno) in
          try Descriptor.open(folder, O_RDONLY | O_DIRECTORY).synchronize()
        }
      }
    } catch {
      _ = unlink(data)
      _ = unlink(index)
      throw error
    }
  }

  /// With `size`, a file of that many bytes of which the rest is a hole.
  private static func createFile(_ path: String, _ bytes: [UInt8], size: UInt64? = nil) throws(UpperError) {
    let file: Descriptor
    do throws(Errno) {
      file = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
    } catch {
      throw error == .exists ? .exists(path: path) : .system(call: "making the file", path: path, error)
    }
    do throws(UpperError) {
      do throws(Errno) { try fill(file, bytes, size) } catch {
        throw .system(call: "writing the new file", path: path, error)
      }
      if size != nil { try requireHoles(file, path, isEmpty: true) }
    } catch {
      _ = unlink(path)
      throw error
    }
  }

  /// Refuses a file system on which the holes of a file do not say what was written. With `isEmpty` the file has nothing
  /// behind its header, so that this can be seen.
  static func requireHoles(_ file: borrowing Descriptor, _ path: String, isEmpty: Bool = false) throws(UpperError) {
    let headerBytes = Int64(LayerRecord.size)
    var system = statfs()
    let blockBytes: Int64
    let start: Int64
    do throws(Errno) {
      if fstatfs(file.rawValue, &system) != 0 { throw .last }
      start = clinux_seek_data(file.rawValue, headerBytes)
      if start < 0, Errno.last.rawValue != ENXIO { throw .last }
      blockBytes = Int64(try file.status().st_blksize)
    } catch {
      throw .system(call: "asking for its holes", path: path, error)
    }
    if UInt32(truncatingIfNeeded: system.f_type) == 0x2fc1_2fc1 {
      throw .unfitFileSystem(path: path, reason: "ZFS makes holes of blocks of zeroes that were written")
    }
    if blockBytes > headerBytes {
      throw .unfitFileSystem(path: path, reason: "it has blocks of \(blockBytes) bytes, and 4096 are the most")
    }
    if isEmpty, start >= 0 {
      throw .unfitFileSystem(path: path, reason: "it does not tell holes from data (SEEK_DATA)")
    }
  }

  private static func fill(_ file: borrowing Descriptor, _ bytes: [UInt8], _ size: UInt64?) throws(Errno) {
    if let size { try file.truncate(to: size) }
    let result: Result<Void, Errno> = bytes.withUnsafeBytes { buffer in
      do throws(Errno) { return .success(try file.writeFully(buffer, at: 0)) } catch { return .failure(error) }
    }
    try result.get()
    try file.synchronize()
  }

  /// Refuses what no index can address, and sizes that are no whole number of sectors.
  static func checkSize(_ bytes: UInt64, path: String) throws(UpperError) {
    if bytes % UInt64(sectorSize) != 0 {
      throw .invalidSize(path: path, bytes: bytes, reason: "the size must be a multiple of \(sectorSize)")
    }
    if bytes > SegmentMap.maxVirtualSize {
      throw .invalidSize(
        path: path, bytes: bytes, reason: "an index can address \(SegmentMap.maxVirtualSize) bytes at most")
    }
  }
}

extension UpperError {
  /// Adds what was tried and where to an error number.
  static func describing<T: ~Copyable>(
    _ call: String, _ path: String, _ body: () throws(Errno) -> T
  ) throws(UpperError) -> T {
    do throws(Errno) { return try body() } catch { throw .system(call: call, path: path, error) }
  }
}
