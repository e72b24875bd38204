import BlobStore
import CLinux
import Glibc
import LSMT
import Posix

/// Where an upper has its sectors.
extension OpenUpper {
  /// The most bytes that an index file can have.
  static let indexLimit = IndexLog.maxEntries * UInt64(Segment.size) + UInt64(LayerRecord.size) + 15

  /// What the index file at `path` says, which is the one of the data file with `header`.
  static func log(at path: String, of header: LayerRecord) throws(ImageError) -> IndexLog {
    let file: Blob
    do throws(BlobError) { file = try Blob(path: path) } catch { throw .blob(error) }
    guard file.fileSize <= indexLimit else {
      throw .refused("\(path): an index of \(file.fileSize) bytes; no reader accepts more than \(indexLimit)")
    }
    let bytes = try file.bytes(at: 0, count: Int(file.fileSize))
    let log = try layer(path) { () throws(LSMTError) in try decodeIndexLog(bytes.span.bytes) }
    if !log.header.uuid.isNull, !header.uuid.isNull, log.header.uuid != header.uuid {
      throw .refused(
        "\(path): is the index of upper \(log.header.uuid), and the data file is that of \(header.uuid): name the two "
          + "files that belong together")
    }
    return log
  }

  /// The append-only upper in `blob`, whose index file is `index`.
  static func appended(_ blob: Blob, _ header: LayerRecord, index: String, _ lock: ReadLock?) throws(ImageError)
    -> OpenUpper
  {
    let log = try log(at: index, of: header)
    let (segments, cut) = log.replayed(within: blob.payloadSize)
    var notes: [String] = []
    if cut > 0 {
      notes.append(
        "\(index): \(cut) of \(log.entries.count) entries reach beyond the end of \(blob.path): a crash left them behind "
          + "before their data was stored, and what is not there of them does not count")
    }
    var header = header
    // Between the two writes of a resize they differ: one that grew is as good as done.
    header.virtualSize = max(header.virtualSize, log.header.virtualSize)
    return OpenUpper(
      opened: try Layer.open(upper: blob, header: header, segments: segments, lock: lock), indexPath: index,
      notes: notes)
  }

  /// The mappings of a sparse upper: its file's data, where the file system has any.
  /// What lies beyond its device was to become the end of a sealed layer.
  static func sparse(_ blob: Blob, _ header: LayerRecord) throws(ImageError) -> [Segment] {
    let sector = UInt64(sectorSize)
    let device = header.virtualSize == 0 ? UInt64.max : UInt64(LayerRecord.size) + header.virtualSize
    let end = min(blob.payloadSize, device) / sector * sector
    var segments: [Segment] = []
    var position = UInt64(LayerRecord.size)
    while position < end {
      let start = try seek(blob, SEEK_DATA, from: position)
      let stop = min(end, try seek(blob, SEEK_HOLE, from: min(start, end)))
      var next = start / sector
      while next < stop / sector {
        let length = min(stop / sector - next, Segment.maxLength)
        segments.append(
          Segment(offset: next - LayerWriter.firstDataSector, length: UInt32(length), moffset: next))
        next += length
      }
      position = max(start, stop)
    }
    return segments
  }

  /// `lseek(2)` with `SEEK_DATA` or `SEEK_HOLE`; the file's end when nothing follows.
  private static func seek(_ blob: Blob, _ whence: Int32, from offset: UInt64) throws(ImageError) -> UInt64 {
    do throws(Errno) {
      return UInt64(try retryingInterrupts { lseek(blob.fd, Int(offset), whence) })
    } catch {
      if error.rawValue == ENXIO { return blob.payloadSize }
      throw .system(call: "looking for the data of", path: blob.path, error)
    }
  }
}
