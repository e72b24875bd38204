import Foundation
import LSMT
import Posix
import TestSupport

@testable import UpperLayer

/// The folder of files that overlaybd's own tools wrote: `$WARMBLK_FIXTURES`, or `../shared/fixtures` beside the package.
enum Fixtures {
  static let folder: String =
    ProcessInfo.processInfo.environment["WARMBLK_FIXTURES"]
    ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "../../../shared/fixtures"
    ).standardized.path

  static let isPresent = FileManager.default.fileExists(atPath: folder + "/upper")

  static func bytes(_ path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + path)))
  }
}

/// What a read of a device with only this layer finds.
func read(_ upper: Upper, sector: UInt64, sectors: UInt64) throws -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: Int(sectors) * 512)
  var next = sector
  while next < sector + sectors {
    let piece = upper.index.view.piece(at: next, limit: sector + sectors - next)
    if piece.kind == .data {
      let start = Int(next - sector) * 512
      let count = bytes.withUnsafeMutableBytes { buffer in
        pread(
          upper.dataDescriptor, buffer.baseAddress! + start, Int(piece.sectors) * 512, Int(piece.blobSector) * 512)
      }
      if count != Int(piece.sectors) * 512 { throw Errno.ioError }
    }
    next += piece.sectors
  }
  return bytes
}

extension Upper {
  /// Writes pieces in one call.
  func write(_ pieces: [(UInt64, [UInt8])]) throws { try withWrites(pieces) { try write($0) } }
}

/// Pieces as the calls of a layer take them.
func withWrites(_ pieces: [(UInt64, [UInt8])], _ body: (UnsafeBufferPointer<UpperWrite>) throws -> Void) rethrows {
  let buffers = pieces.map { UnsafeMutableRawBufferPointer.allocate(byteCount: $0.1.count, alignment: 16) }
  defer { buffers.forEach { $0.deallocate() } }
  for (buffer, piece) in zip(buffers, pieces) { buffer.copyBytes(from: piece.1) }
  let writes = zip(pieces, buffers).map { UpperWrite(sector: $0.0, bytes: UnsafeRawBufferPointer($1)) }
  try writes.withUnsafeBufferPointer { try body($0) }
}

let testUUID = LayerUUID("0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0")!
let otherUUID = LayerUUID("AAAAAAAA-4B5A-6978-8796-A5B4C3D2E1F0")!

/// The files of a layer in a folder that goes away.
struct Place {
  let scratch: Scratch
  let files: UpperFiles
  let pending: String

  init() throws {
    scratch = try Scratch()
    files = UpperFiles(data: scratch("data"), index: scratch("index"))
    pending = scratch("run")
  }

  func create(size: UInt64 = 64 << 20, parent: LayerUUID = .null, kind: UpperFiles.Kind = .append) throws {
    try UpperFiles.create(
      data: files.data, index: files.index, kind: kind, virtualSize: size, uuid: testUUID, parentUUID: parent)
  }

  func open(defaultSize: UInt64 = 0, parent: LayerUUID? = nil) throws(UpperError) -> Upper {
    try Upper.open(files, pendingFolder: pending, defaultVirtualSize: defaultSize, parentUUID: parent)
  }
}

/// Sectors that say which they are and which version.
func sectorsBytes(_ sector: UInt64, _ count: UInt64, _ version: UInt64) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: Int(count) * 512) { buffer, size in
    let words = UnsafeMutableRawPointer(buffer.baseAddress!).assumingMemoryBound(to: UInt64.self)
    for word in 0..<Int(count) * 64 { words[word] = word & 1 == 0 ? sector + UInt64(word / 64) : version }
    size = Int(count) * 512
  }
}

func sectorBytes(_ sector: UInt64, _ version: UInt64) -> [UInt8] { sectorsBytes(sector, 1, version) }
