import BlobStore
import LSMT
import ZFile

/// The file of a layer with its wrapping undone: the tar by ``Blob``, the compression by its jump table. What is
/// inside need not be a layer.
struct Container: ~Copyable {
  let blob: Blob
  let zfile: ZFileRecord?
  let table: JumpTable?
  /// Bytes of the content.
  let size: UInt64

  private init(blob: Blob, zfile: ZFileRecord?, table: consuming JumpTable?, size: UInt64) {
    self.blob = blob
    self.zfile = zfile
    self.table = table
    self.size = size
  }

  /// Looks into `blob`.
  static func open(_ blob: Blob) throws(ImageError) -> Container {
    guard try isCompressed(blob) else {
      return Container(blob: blob, zfile: nil, table: nil, size: blob.payloadSize)
    }
    let record = try zfileRecord(blob)
    let table = try jumpTable(blob, record)
    let size = table.view.originalSize
    return Container(blob: blob, zfile: record, table: table, size: size)
  }

  /// A reader of the content.
  borrowing func reader() throws(ImageError) -> LayerReader {
    try LayerReader(blob: blob, view: view)
  }

  /// The jump table's view, valid while the table lives.
  var view: JumpTable.View? {
    switch table {
    case .some(let table): table.view
    case .none: nil
    }
  }

  private static func isCompressed(_ blob: Blob) throws(ImageError) -> Bool {
    let prefix = try blob.bytes(at: 0, count: Int(min(blob.payloadSize, UInt64(ZFileRecord.magic.count))))
    return ZFileRecord.isZFile(prefix: prefix.span.bytes)
  }

  /// The record that says where the jump table is: the header once it is final, else the trailer.
  private static func zfileRecord(_ blob: Blob) throws(ImageError) -> ZFileRecord {
    let header = try blob.bytes(at: 0, count: Int(min(blob.payloadSize, UInt64(ZFileRecord.size))))
    let record = try zfile(blob, at: 0) { () throws(ZFileError) in
      try ZFileRecord(parsing: header.span.bytes, as: .header)
    }
    if record.isHeaderOverwritten { return record }
    let offset = blob.payloadSize - UInt64(ZFileRecord.size)
    let trailer = try blob.bytes(at: offset, count: ZFileRecord.size)
    return try zfile(blob, at: offset) { () throws(ZFileError) in
      try ZFileRecord(parsing: trailer.span.bytes, as: .trailer)
    }
  }

  private static func jumpTable(_ blob: Blob, _ record: ZFileRecord) throws(ImageError) -> JumpTable {
    let (offset, count) = try zfile(blob, at: record.indexOffset) { () throws(ZFileError) in
      try JumpTable.location(record: record, fileSize: blob.payloadSize)
    }
    let bytes = try blob.bytes(at: offset, count: count)
    do throws(ZFileError) {
      return try JumpTable(parsing: bytes.span.bytes, record: record, fileSize: blob.payloadSize)
    } catch {
      throw .zfile(path: blob.path, offset: blob.payloadOffset + offset, error)
    }
  }

  /// Says where in which file a ZFile structure is bad. `offset` is in the payload and may be nonsense from the file.
  private static func zfile<T>(
    _ blob: Blob, at offset: UInt64, _ body: () throws(ZFileError) -> T
  ) throws(ImageError) -> T {
    do throws(ZFileError) {
      return try body()
    } catch {
      throw .zfile(path: blob.path, offset: blob.payloadOffset &+ offset, error)
    }
  }
}

extension Blob {
  /// `count` bytes from `offset` of the payload.
  func bytes(at offset: UInt64, count: Int) throws(ImageError) -> [UInt8] {
    let buffer = Bytes(count: count)
    do throws(BlobError) { try read(buffer.all, at: offset) } catch { throw .blob(error) }
    return [UInt8](buffer.all)
  }
}

extension LayerReader {
  /// `count` bytes from `offset`.
  func bytes(at offset: UInt64, count: Int) throws(ImageError) -> [UInt8] {
    let buffer = Bytes(count: count)
    try read(into: buffer.all, at: offset)
    return [UInt8](buffer.all)
  }
}
