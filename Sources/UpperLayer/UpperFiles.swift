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
  /// opened for the first time. Refused are files that exist, and sparse layers. What was made is removed again when something fails.
  public static func create(
    data: String, index: String, kind: Kind, virtualSize: UInt64, uuid: LayerUUID, parentUUID: LayerUUID = .null
  ) throws(UpperError) {
    if kind == .sparse { throw .sparse(path: data) }
    try checkSize(virtualSize, path: data)
    var header = LayerRecord(
      flags: LayerRecord.Flag.header | LayerRecord.Flag.dataFile, virtualSize: virtualSize, uuid: uuid,
      parentUUID: parentUUID)
    let dataBytes = header.encoded()
    header.flags = LayerRecord.Flag.header
    header.indexOffset = UInt64(LayerRecord.size)
    // The index first: a data file alone would look like a layer that lost something.
    try createFile(index, header.encoded())
    do throws(UpperError) { try createFile(data, dataBytes) } catch {
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

  private static func createFile(_ path: String, _ bytes: [UInt8]) throws(UpperError) {
    let file: Descriptor
    do throws(Errno) {
      file = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
    } catch {
      throw error == .exists ? .exists(path: path) : .system(call: "making the file", path: path, error)
    }
    do throws(Errno) { try fill(file, bytes) } catch {
      _ = unlink(path)
      throw .system(call: "writing the new file", path: path, error)
    }
  }

  private static func fill(_ file: borrowing Descriptor, _ bytes: [UInt8]) throws(Errno) {
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
