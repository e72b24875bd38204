import Glibc
import Posix
import Testing
import Trace
import ZFile

/// Files given as traces that are none, or not whole, or of something else.
enum SpoiltTrace: String, CaseIterable, Sendable, CustomTestStringConvertible {
  // Those that cannot be read.
  case empty, cut, cutInHeader, flipped, flippedInHeader, newer, tooMany, moreThanFit, noise, zeroes, flippedRecord
  case impossibleRecord, cutRecord, badLine, hugeLine, badJSON
  // Those of which the image has nothing.
  case otherImage, allBeyond
  // Those of which something is used.
  case oneKnownLayer, beyondLayer, beyondDisk, unknownLayer

  var testDescription: String { rawValue }

  static let unreadable = allCases.filter { $0.rest == .unreadable }
  static let readable = allCases.filter { $0.rest != .unreadable }

  /// What can be used of it.
  enum Rest { case unreadable, nothing, some }

  var rest: Rest {
    switch self {
    case .oneKnownLayer, .beyondLayer, .beyondDisk, .unknownLayer: .some
    case .otherImage, .allBeyond: .nothing
    default: .unreadable
    }
  }

  /// What is said of it.
  var says: String {
    switch self {
    case .empty: "there is nothing in it"
    case .cut: "are behind the header and it speaks of"
    case .cutInHeader: "the header alone has 80"
    case .flipped: "the CRC behind the header is"
    case .flippedInHeader: "the header's CRC is"
    case .newer: "of version 2"
    case .tooMany: "accesses, the limit is"
    case .moreThanFit: "do not fit into"
    case .noise, .zeroes: "is of no trace"
    case .flippedRecord: "the records' CRC is"
    case .impossibleRecord: "which no layer can have"
    case .cutRecord: "bytes of records are there"
    case .badLine: "line 2"
    case .hugeLine: "beyond any disk"
    case .badJSON: "line 1"
    case .otherImage, .oneKnownLayer: "in layers that the image does not have"
    case .allBeyond, .beyondDisk: "beyond the disk's"
    case .beyondLayer: "beyond their layer's end"
    case .unknownLayer: "of layers that the image does not have: 1"
    }
  }

  /// Its bytes, from a trace that is whole and of the image.
  func bytes(_ whole: AccessTrace) throws -> [UInt8] {
    var file = try TraceBytes(whole)
    let read = OverlaybdTrace.Record(layer: 1, offset: 4096, count: 65536)
    var records = OverlaybdTrace(records: [read, read]).encoded()
    switch self {
    case .empty: return []
    case .cut: return file.bytes.dropLast(7)
    case .cutInHeader: return Array(file.bytes[..<41])
    case .flipped: file.flip(at: file.bytes.count - 100)
    case .flippedInHeader: file.flip(at: 17)
    case .newer: file.setVersion(2)
    case .tooMany: file.setAccessCount(1 << 40)
    case .moreThanFit: file.setAccessCount(1 << 23)
    // No letter or digit, which might be one of a text.
    case .noise: return (0..<70_000).map { 0x80 | UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 7) }
    case .zeroes: return [UInt8](repeating: 0, count: 1 << 20)
    case .flippedRecord:
      records[40] ^= 1
      return records
    case .impossibleRecord:
      return OverlaybdTrace(records: [.init(layer: 0, offset: 1 << 63, count: 1)]).encoded()
    case .cutRecord: return records.dropLast(24)
    case .badLine: return Array("0 4096\n4096 -1\n".utf8)
    case .hugeLine: return Array("18446744073709551615 18446744073709551615\n".utf8)
    case .badJSON: return Array("{\"trace\": [\n".utf8)
    case .otherImage:
      return try AccessTrace(
        imageName: "other", deviceSize: 1 << 30,
        layers: [
          TraceLayer(identity: "sha256:" + String(repeating: "7", count: 64), size: 1 << 20, isCompressed: false)
        ],
        accesses: [TraceAccess(microseconds: 1, device: 0..<4096, layer: 0, stored: 4096..<8192)]
      ).encoded()
    case .oneKnownLayer:
      var other = whole
      for number in other.layers.indices where number != 1 {
        other.layers[number].identity = "sha256:" + String(repeating: "\(number)", count: 64)
      }
      return try other.encoded()
    case .allBeyond: return Array("\(1 << 40) 4096\n".utf8)
    case .beyondDisk: return Array("1048576 \(Int64.max >> 1)\n\(1 << 40) 4096\n".utf8)
    case .beyondLayer:
      // No writer of ours makes a record of so much.
      records.withUnsafeMutableBytes { bytes in
        bytes.storeBytes(of: UInt64(1 << 62).littleEndian, toByteOffset: 32, as: UInt64.self)
        let sum = crc32cRaw(UnsafeRawBufferPointer(rebasing: bytes[24...]), seed: 0)
        bytes.storeBytes(of: sum.littleEndian, toByteOffset: 16, as: UInt32.self)
      }
      return records
    case .unknownLayer: return OverlaybdTrace(records: [read, .init(layer: .max, offset: 0, count: 4096)]).encoded()
    }
    return file.bytes
  }
}
