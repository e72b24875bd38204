import BlobStore
import Glibc
import LSMT
import Posix
import UpperLayer

/// An upper that is read and not written, as the layer that it would be if it were sealed now.
///
/// What a crash left half done is left out, as recovery would cut it; nothing is changed on the disk. The data file is
/// locked as long as its blob lives, so that no server writes it meanwhile.
struct OpenUpper {
  let opened: Layer.Opened
  /// The index file; nil for a sparse upper without one.
  let indexPath: String?
  /// What of it is not whole, a sentence each.
  let notes: [String]

  /// The upper of `config`; nil when it has none, or shall not be opened.
  static func of(_ config: ImageConfig, use: UpperUse) throws(ImageError) -> OpenUpper? {
    let pendingFolder: String?
    switch use {
    case .refused, .leftOut: return nil
    case .readOnly(let folder): pendingFolder = folder
    case .asItIs: pendingFolder = nil
    }
    guard let data = config.upper.data else {
      if config.upper.index == nil { return nil }
      throw .invalid(name: config.name, field: "upper.data", problem: "is missing, though upper.index is there")
    }
    return try open(data: data, index: config.upper.index, pendingFolder: pendingFolder)
  }

  /// Opens the upper in file `data`, whose mappings are in file `index` unless it is sparse. Without `pendingFolder` it is
  /// taken as it is, see ``UpperUse/asItIs``.
  static func open(data: String, index: String?, pendingFolder: String?) throws(ImageError) -> OpenUpper {
    let blob: Blob
    do throws(BlobError) { blob = try Blob(path: data) } catch { throw .blob(error) }
    let lock = pendingFolder == nil ? nil : try ReadLock(blob)
    let header = try header(of: blob)
    if let pendingFolder { try requireNothingPending(blob, header, pendingFolder) }
    if header.isSparse {
      return OpenUpper(
        opened: try Layer.open(upper: blob, header: header, segments: try sparse(blob, header), lock: lock),
        indexPath: index,
        notes: [])
    }
    guard let index else {
      throw .refused("\(data): an append-only upper has its mappings in an index file: name that too")
    }
    return try appended(blob, header, index: index, lock)
  }

  private static func requireNothingPending(
    _ blob: Blob, _ header: LayerRecord, _ folder: String
  ) throws(ImageError) {
    let count = try pendingEntries(blob, header, folder)
    if count == 0 { return }
    throw .refused(
      "\(blob.path): the server of this upper was killed, and \(count) of its last writes are only in \(folder) yet: "
        + "take the device over with `warmblk recover`, or add and delete it, which brings them into the upper")
  }

  /// Writes that a killed server has acknowledged and that the upper's files do not have.
  static func pendingEntries(_ blob: Blob, _ header: LayerRecord, _ folder: String) throws(ImageError) -> UInt64 {
    let data: Descriptor
    do throws(Errno) { data = try Descriptor.open(blob.path) } catch {
      throw .system(call: "opening", path: blob.path, error)
    }
    do throws(UpperError) {
      return try UpperFiles.pendingEntries(
        of: data, path: blob.path, uuid: header.uuid, pendingFolder: folder)
    } catch {
      throw .upper(error)
    }
  }

  /// The header of the data file of an upper that is not sealed.
  private static func header(of blob: Blob) throws(ImageError) -> LayerRecord {
    let path = blob.path
    let size = UInt64(LayerRecord.size)
    guard blob.payloadSize >= size, !blob.isTarWrapped else {
      throw .notALayer(path: path, found: "\(blob.payloadSize) bytes, which is no upper's data file")
    }
    let bytes = try blob.bytes(at: 0, count: LayerRecord.size)
    guard LayerRecord.isLSMT(bytes.span.bytes) else {
      throw .refused("\(path): not the data file of an upper: it begins with \(FileSignature(bytes).description)")
    }
    let header = try Self.layer(path) { () throws(LSMTError) -> LayerRecord in
      let header = try LayerRecord(parsing: bytes.span.bytes, as: .header)
      try header.requireDataFile()
      return header
    }
    if try isSealed(blob, header) {
      throw .refused("\(path): is sealed, no upper any more: name it as the last of `lowers`, and no `upper`")
    }
    guard header.virtualSize <= SegmentMap.maxVirtualSize else {
      throw .layer(
        path: path, .virtualSizeTooLarge(bytes: header.virtualSize, limit: SegmentMap.maxVirtualSize))
    }
    return header
  }

  /// Whether the file is sealed: its header says so, or it ends with the trailer that sealing in place appends. What a guest wrote last can look like the trailer of
  /// any layer, but not of this one.
  static func isSealed(_ blob: Blob, _ header: LayerRecord) throws(ImageError) -> Bool {
    if header.isSealed { return true }
    let size = UInt64(LayerRecord.size)
    guard blob.payloadSize >= 2 * size else { return false }
    let end = try blob.bytes(at: blob.payloadSize - size, count: LayerRecord.size)
    do throws(LSMTError) {
      let trailer = try LayerRecord(parsing: end.span.bytes, as: .trailer)
      let index = try SealedIndex(trailer: trailer, layerSize: blob.payloadSize)
      if header.isSparse, trailer.indexOffset < size + header.virtualSize { return false }
      let stored = (index.byteCount + sectorSize - 1) / sectorSize * sectorSize
      return trailer.uuid == header.uuid && index.byteOffset + UInt64(stored) == blob.payloadSize - size
    } catch {
      return false
    }
  }

  static func layer<T>(_ path: String, _ body: () throws(LSMTError) -> T) throws(ImageError) -> T {
    do throws(LSMTError) { return try body() } catch { throw .layer(path: path, error) }
  }
}
