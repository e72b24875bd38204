/// Why a layer's metadata cannot be used. Offsets are bytes in the blob space of the layer (after tar
/// unwrapping and ZFile decompression) unless a case says otherwise; whoever knows the path of the file adds it.
public enum LSMTError: Error, Equatable, Sendable {
  /// A header or trailer has `found` bytes instead of ``LayerRecord/size``.
  case recordTruncated(role: LayerRecord.Role, found: Int)
  /// A header or trailer does not begin with the 24 magic bytes; `found` is what is there instead.
  case badMagic(role: LayerRecord.Role, found: [UInt8])
  /// The `is_header` flag contradicts the place where the record was read.
  case wrongRole(expected: LayerRecord.Role, flags: UInt32)
  /// The record belongs to an index file; a layer or a data file was expected.
  case notDataFile(flags: UInt32)
  /// The record belongs to a data file; an index file was expected.
  case notIndexFile(flags: UInt32)
  /// The trailer does not say that the layer is sealed.
  case notSealed(flags: UInt32)
  /// The header of a writable index says that it is sealed, which no writer does.
  case sealedIndexFile(flags: UInt32)
  /// The layer of `size` bytes cannot hold a header and a trailer.
  case layerTooSmall(size: UInt64)
  /// The index of a writable layer must begin at byte 4096.
  case indexLogOffset(found: UInt64)
  /// The index must begin at or after byte 4096 and not after `limit`, where the trailer begins.
  case indexOffset(found: UInt64, limit: UInt64)
  /// `count` entries from `offset` would run into the trailer at `limit`.
  case indexTooLong(offset: UInt64, count: UInt64, limit: UInt64)
  /// More index entries than any reader accepts.
  case tooManyEntries(count: UInt64, limit: UInt64)
  /// `found` bytes of index were given where `expected` are needed.
  case indexTruncated(expected: Int, found: Int)
  /// Entry `entry`, at `byteOffset`, begins at sector `sector`, before the end `previousEnd` of the one before it.
  case unsortedIndex(entry: Int, byteOffset: UInt64, sector: UInt64, previousEnd: UInt64)
  /// Entry `entry`, at `byteOffset`, refers to blob sectors `start..<end`, outside the data `8..<limit`.
  case mappingOutsideData(entry: Int, byteOffset: UInt64, start: UInt64, end: UInt64, limit: UInt64)
  /// A stack has more layers than the 8-bit layer number can name.
  case tooManyLayers(count: Int, limit: Int)
  /// No LSMT index can address a device of so many bytes.
  case virtualSizeTooLarge(bytes: UInt64, limit: UInt64)
  /// Segment `segment` of layer `layer` (0 = bottom) overlaps the one before it or is out of order.
  case unsortedLayer(layer: Int, segment: Int)
  /// The index of a writable layer was made for a device of at most `limit` sectors and cannot grow beyond.
  case indexCannotGrow(sectors: UInt64, limit: UInt64)
  /// The kernel gave no `bytes` of address space or memory for the index of a writable layer; `errno` says why.
  case noMemory(bytes: Int, errno: Int32)
}

extension LSMTError: CustomStringConvertible {
  /// What was tried, what was found and what to do, without the name of the file.
  public var description: String {
    switch self {
    case .recordTruncated(let role, let found):
      "reading the LSMT \(role): expected \(LayerRecord.size) bytes, found \(found); the file is truncated"
    case .badMagic(let role, let found):
      "reading the LSMT \(role): no LSMT magic, found bytes \(hex(found)); "
        + (role == .header
          ? "this is not an LSMT layer"
          : "the layer is not sealed, or its end is missing: fetch or build it again")
    case .wrongRole(let role, let flags):
      "reading the LSMT \(role): flags \(hex(flags)) say \(role == .header ? "trailer" : "header"); the layer is damaged"
    case .notDataFile(let flags):
      "LSMT flags \(hex(flags)): this is the index file of a writable layer, a data file was expected"
    case .notIndexFile(let flags):
      "LSMT flags \(hex(flags)): this is a data file, the index file of a writable layer was expected"
    case .notSealed(let flags):
      "LSMT trailer flags \(hex(flags)): the layer is not sealed; commit or seal it first"
    case .sealedIndexFile(let flags):
      "LSMT flags \(hex(flags)): a writable layer's index file cannot be sealed; the file is damaged"
    case .layerTooSmall(let size):
      "opening an LSMT layer: \(size) bytes cannot hold a header and a trailer of \(LayerRecord.size) bytes each; "
        + "the file is truncated"
    case .indexLogOffset(let found):
      "LSMT index file: entries must begin at byte \(LayerRecord.size), the header says \(found); the file is damaged"
    case .indexOffset(let found, let limit):
      "LSMT trailer: index offset \(found) is not in \(LayerRecord.size)...\(limit); the layer is damaged"
    case .indexTooLong(let offset, let count, let limit):
      "LSMT trailer: \(count) index entries of \(Segment.size) bytes at byte \(offset) do not fit before the trailer "
        + "at byte \(limit); the layer is damaged"
    case .tooManyEntries(let count, let limit):
      "LSMT index: \(count) entries, at most \(limit) are allowed; merge or rewrite the layer with larger segments"
    case .indexTruncated(let expected, let found):
      "reading the LSMT index: expected \(expected) bytes, found \(found); the file is truncated"
    case .unsortedIndex(let entry, let byteOffset, let sector, let previousEnd):
      "LSMT index entry \(entry) at byte \(byteOffset): begins at sector \(sector), before the end \(previousEnd) of "
        + "the entry before it; the layer is damaged"
    case .mappingOutsideData(let entry, let byteOffset, let start, let end, let limit):
      "LSMT index entry \(entry) at byte \(byteOffset): refers to blob sectors \(start)..<\(end), the layer's data is "
        + "8..<\(limit); the layer is damaged"
    case .tooManyLayers(let count, let limit):
      "merging LSMT layers: \(count) layers, at most \(limit) are possible; flatten some of them"
    case .virtualSizeTooLarge(let bytes, let limit):
      "LSMT virtual size of \(bytes) bytes: an index can address \(limit) bytes at most; the layer is damaged"
    case .unsortedLayer(let layer, let segment):
      "merging LSMT layers: segment \(segment) of layer \(layer) overlaps the one before it"
    case .indexCannotGrow(let sectors, let limit):
      "growing a writable layer to \(sectors) sectors: its index in memory has room for \(limit); stop the device, "
        + "resize its layer, and start it again"
    case .noMemory(let bytes, let errno):
      "reserving \(bytes) bytes for the index of a writable layer: errno \(errno); free some memory, or raise the limits "
        + "of address space (ulimit -v) and of locked memory (ulimit -l)"
    }
  }
}

private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }

private func hex(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
}
