import Glibc
import LSMT
import Posix
import TestSupport

@testable import UpperLayer

/// A writable layer on a ``MortalDisk``: opened as `Upper.open` does it, less its checks.
final class MortalUpper: ServedUpper {
  let disk: MortalDisk
  private let append: AppendUpper<MortalDisk>?
  private let sparse: SparseUpper<MortalDisk>?

  init(
    _ files: UpperFiles, _ disk: MortalDisk, pendingFolder: String, capacity: Int, compactionFloor: UInt64,
    lowers: LowerLayers
  ) throws {
    self.disk = disk
    let data = try Descriptor.open(files.data)
    let bytes = try Self.header(files.data)
    let header = try LayerRecord(parsing: bytes.span.bytes, as: .header)
    if header.isSparse {
      append = nil
      sparse = try SparseUpper(disk: disk, header: header, deviceBytes: header.virtualSize, lowers: lowers)
      return
    }
    sparse = nil
    let identity = try PendingLog.Identity(data, uuid: header.uuid)
    let (log, _, _) = try PendingLog.open(folder: pendingFolder, for: identity, capacity: capacity)
    append = try AppendUpper(
      disk: disk, log: log, header: header, indexHeader: try Self.header(files.index),
      deviceBytes: header.virtualSize, compactionFloor: compactionFloor)
  }

  private static func header(_ path: String) throws -> [UInt8] {
    let file = try Descriptor.open(path)
    var bytes = [UInt8](repeating: 0, count: LayerRecord.size)
    _ = try bytes.withUnsafeMutableBytes { try file.readFully(into: $0, at: 0) }
    return bytes
  }

  var index: UpperIndex { append?.index ?? sparse!.index }
  var replayedEntries: UInt64 { append?.report.replayedEntries ?? 0 }

  var isHurt: Bool { disk.faultyOperation != "none" }
  var leavesParts: Bool { sparse != nil }

  func write(_ pieces: UnsafeBufferPointer<UpperWrite>, mayWait: Bool) throws(Errno) {
    if let append { return try append.write(pieces) }
    try sparse?.write(pieces, mayWait: mayWait)
  }

  func zero(sector: UInt64, sectors: UInt64, keepsSpace: Bool) throws(Errno) {
    try append?.zero(sector: sector, sectors: sectors, keepsSpace: keepsSpace)
    try sparse?.zero(sector: sector, sectors: sectors, keepsSpace: keepsSpace)
  }

  func flush() throws(Errno) {
    try append?.flush()
    try sparse?.flush()
  }
}
