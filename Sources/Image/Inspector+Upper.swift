import BlobStore
import Glibc
import LSMT
import Posix

/// Writable layers. Nothing is locked for long and nothing is changed, so that one can be looked at while it is written.
extension Inspector {
  /// The data file of an upper.
  mutating func inspectUpper(_ header: LayerRecord, _ blob: Blob) throws(ImageError) {
    var facts = Inspection.Upper(kind: header.isSparse ? .sparse : .append)
    facts.isInUse = OpenUpper.isInUse(blob)
    if facts.isInUse { result.notes.append("a device writes to it: the next look may find something else") }
    if let pendingFolder {
      facts.pendingEntries = Int(try OpenUpper.pendingEntries(blob, header, pendingFolder))
    }
    facts.tornDataBytes = Int(blob.fileSize % UInt64(sectorSize))
    var segments: [Segment] = []
    if header.isSparse {
      segments = try OpenUpper.sparse(blob, header)
    } else if let path = indexPath ?? Self.indexBeside(blob.path) {
      facts.indexPath = path
      let log = try OpenUpper.log(at: path, of: header)
      let replayed = log.replayed(within: blob.payloadSize)
      segments = replayed.segments
      facts.entries = log.entries.count
      facts.cutEntries = replayed.cut
      facts.tornIndexBytes = log.tornBytes
    } else {
      result.notes.append(
        "its mappings are in its index file, which is not beside it: name the image's configuration to have them looked at"
      )
    }
    let index = Inspection.Index(segments, virtualSize: header.virtualSize)
    result.index = index
    facts.liveBytes = index.dataBytes
    let stored = min(blob.fileSize, try OpenUpper.allocatedBytes(blob))
    let used = UInt64(LayerRecord.size) + index.dataBytes
    facts.garbageBytes = facts.kind == .sparse || facts.entries == nil || stored < used ? 0 : stored - used
    result.upper = facts
    result.notes += repairs(facts, header)
  }

  /// What opening it for writing does, a sentence each.
  private func repairs(_ facts: Inspection.Upper, _ header: LayerRecord) -> [String] {
    var lines: [String] = []
    if facts.pendingEntries > 0 {
      lines.append(
        "its server was killed: opening brings \(facts.pendingEntries) entries back that are only in the run directory")
    }
    if facts.cutEntries > 0 {
      lines.append(
        "a crash left \(facts.cutEntries) entries that reach beyond the end of the data: opening cuts them, overlaybd would "
          + "refuse the layer")
    }
    if facts.tornIndexBytes > 0 {
      lines.append("the index ends with \(facts.tornIndexBytes) bytes of half an entry: opening cuts them off")
    }
    if facts.tornDataBytes > 0, facts.kind == .append {
      lines.append("the data ends with \(facts.tornDataBytes) bytes of half a sector: opening fills it up")
    }
    if header.virtualSize == 0 { lines.append("it says no size: opening gives it that of the layers below") }
    return lines
  }

  /// The index file that stands beside a data file as all who make uppers name the two: `upper.data` and `upper.index`,
  /// `writable_data` and `writable_index`. nil when there is none.
  private static func indexBeside(_ path: String) -> String? {
    guard path.hasSuffix("data") else { return nil }
    let index = String(path.dropLast(4)) + "index"
    return fileExists(index) ? index : nil
  }
}

extension OpenUpper {
  /// Whether somebody writes it just now.
  static func isInUse(_ blob: Blob) -> Bool {
    guard flock(blob.fd, LOCK_SH | LOCK_NB) == 0 else { return Errno.last == .again }
    _ = flock(blob.fd, LOCK_UN)
    return false
  }

  /// Bytes that the data file occupies on its disk.
  static func allocatedBytes(_ blob: Blob) throws(ImageError) -> UInt64 {
    var status = stat()
    guard fstat(blob.fd, &status) == 0 else { throw .system(call: "fstat", path: blob.path, .last) }
    return UInt64(status.st_blocks) * 512
  }
}
