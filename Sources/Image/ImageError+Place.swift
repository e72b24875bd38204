import BlobStore
import LSMT
import UpperLayer
import ZFile

extension ImageError {
  /// Where something is wrong and what, as far as the error knows. An offset is in the file; for a layer's own
  /// structures (header, index, trailer) it is in the layer, without tar and compression.
  struct Place {
    var file: String?
    var offset: UInt64?
    var expected: String?
    var found: String?
  }

  var place: Place {
    switch self {
    case .system(_, let path, _), .notALayer(let path, _), .trace(let path, _):
      Place(file: path)
    case .json(let name, _, _), .invalid(let name, _, _), .unsupported(let name, _, _), .stack(let name, _),
      .files(let name, _):
      Place(file: name)
    case .layerNotFound(let name, _, let looked, _):
      Place(file: name, expected: looked.first)
    case .remoteLayer(let name, _, let url): Place(file: name, found: url)
    case .sizeMismatch(let path, let expected, let found):
      Place(file: path, expected: "\(expected) bytes", found: "\(found) bytes")
    case .outOfBounds(let path, let offset, let wanted, let size):
      Place(file: path, offset: offset, expected: "\(wanted) bytes", found: "the end at \(size)")
    case .blob(let error): error.place
    case .layer(let path, let error): error.place(in: path)
    case .zfile(let path, let offset, let error), .block(let path, _, let offset, let error):
      error.place(in: path, at: offset)
    case .tooFragmented(let path, _, let entries, _):
      Place(file: path, expected: "at most \(SealedIndex.maxEntries) segments", found: "\(entries)")
    case .upper(let error): error.place
    case .refused: Place()
    }
  }
}

extension BlobError {
  fileprivate var place: ImageError.Place {
    switch self {
    case .system(_, let path, _), .notRegularFile(let path), .tar(let path, _):
      .init(file: path)
    case .read(let path, let offset, let wanted, _):
      .init(file: path, offset: offset, expected: "\(wanted) bytes")
    case .shortRead(let path, let offset, let wanted, let got):
      .init(file: path, offset: offset, expected: "\(wanted) bytes", found: "\(got) bytes")
    case .outOfBounds(let path, let offset, let wanted, let end):
      .init(file: path, offset: offset, expected: "\(wanted) bytes", found: "the end at \(end)")
    case .cache(_, let path, _), .cacheOnOwnDevice(let path, _): .init(file: path)
    case .sizeMismatch(let digest, let expected, let found, _):
      .init(file: digest, expected: "\(expected) bytes", found: "\(found) bytes")
    case .timedOut(let blob, let offset, let wanted):
      .init(file: blob, offset: offset, expected: "\(wanted) bytes")
    case .sizeUnknown(let blob), .cut(let blob, _): .init(file: blob)
    case .tooLarge(let blob, let size): .init(file: blob, found: "\(size) bytes")
    case .wrongDigest(let path, let expected, let found), .wrongBlob(let path, let expected, let found):
      .init(file: path, expected: expected, found: found)
    case .notDigest(let text): .init(found: text)
    case .changed(let path): .init(file: path)
    case .noRoom(let path, let size, let limit):
      .init(file: path, expected: "at most \(limit) bytes", found: "\(size) bytes")
    case .registry, .stopped: .init()
    }
  }
}

extension UpperError {
  fileprivate var place: ImageError.Place {
    switch self {
    case .system(_, let path, _), .notRegularFile(let path), .inUse(let path, _), .sealed(let path),
      .notWritable(let path, _), .sparse(let path),
      .unfitFileSystem(let path, _), .exists(let path), .noVirtualSize(let path),
      .invalidSize(let path, _, _),
      .tooManyEntries(let path, _, _), .pendingLog(let path, _, _):
      .init(file: path)
    case .layer(let path, let error): error.place(in: path)
    case .wrongKind(_, _, let index, let size): .init(file: index, found: "\(size) bytes")
    case .otherIndex(_, let uuid, let index, let found):
      .init(file: index, expected: "\(uuid)", found: "\(found)")
    case .otherParent(let path, let expected, let found):
      .init(file: path, expected: "\(expected)", found: "\(found)")
    }
  }
}

extension LSMTError {
  fileprivate func place(in path: String) -> ImageError.Place {
    switch self {
    case .indexOffset(let found, let limit):
      .init(file: path, expected: "an index at 4096...\(limit)", found: "\(found)")
    case .indexTooLong(let offset, let count, let limit):
      .init(file: path, offset: offset, expected: "an index that ends at \(limit)", found: "\(count) entries")
    case .unsortedIndex(_, let byteOffset, let sector, let previousEnd):
      .init(file: path, offset: byteOffset, expected: "a sector from \(previousEnd)", found: "sector \(sector)")
    case .mappingOutsideData(_, let byteOffset, let start, let end, let limit):
      .init(
        file: path, offset: byteOffset, expected: "blob sectors in 8..<\(limit)",
        found: "blob sectors \(start)..<\(end)")
    default: .init(file: path)
    }
  }
}

extension ZFileError {
  fileprivate func place(in path: String, at offset: UInt64) -> ImageError.Place {
    switch self {
    case .digestMismatch(let found, let expected), .indexChecksumMismatch(let found, let expected),
      .blockChecksumMismatch(let found, let expected):
      .init(file: path, offset: offset, expected: "CRC \(hex(expected))", found: "CRC \(hex(found))")
    case .blockLengthMismatch(let found, let expected):
      .init(file: path, offset: offset, expected: "\(expected) bytes", found: "\(found) bytes")
    case .truncated(let wanted, let found):
      .init(file: path, offset: offset, expected: "\(wanted) bytes", found: "\(found) bytes")
    case .indexOffsetMismatch(let found, let expected):
      .init(file: path, offset: offset, expected: "blocks that end at \(expected)", found: "\(found)")
    case .blockCountMismatch(let found, let expected):
      .init(file: path, offset: offset, expected: "\(expected) blocks", found: "\(found)")
    default: .init(file: path, offset: offset)
    }
  }

  private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
}
