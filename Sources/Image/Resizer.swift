import LSMT
import UpperLayer

/// A disk whose size was changed.
public struct ResizeResult: Equatable, Sendable, Encodable {
  /// Bytes that it had.
  public let oldSize: UInt64
  /// Bytes that it has.
  public let newSize: UInt64
  /// Bytes that had been written beyond the new end, and are gone.
  public let lostBytes: UInt64
  /// What the caller should know, a sentence each.
  public let notes: [String]

  /// A change that lost nothing.
  public init(oldSize: UInt64, newSize: UInt64, lostBytes: UInt64 = 0, notes: [String] = []) {
    self.oldSize = oldSize
    self.newSize = newSize
    self.lostBytes = lostBytes
    self.notes = notes
  }
}

/// Changes the size of a writable disk that is not in use.
public struct Resizer {
  /// Makes the disk of the configuration at `path` have `size` bytes. Fewer than it has are refused unless `force`.
  public static func run(
    _ path: String, to size: UInt64, force: Bool = false, pendingFolder: String, remote: RemoteSettings? = nil
  ) throws(ImageError) -> ResizeResult {
    let target = try OpenedUpper.Target.image(upperOf: path, pendingFolder: pendingFolder)
    let opened = try OpenedUpper.open(target, pendingFolder: pendingFolder, remote: remote)
    let upper = opened.upper
    let old = upper.virtualSize
    let written = upper.index.segments().reduce(0) { $0 + $1.dataBytes(beyond: size) }
    if size < old, !force {
      throw .refused(
        "\(path): the disk has \(old) bytes, and \(size) are fewer: what is beyond them would be lost, \(written) bytes "
          + "that were written and all that the layers below have there. Shrink the file system first, then force it")
    }
    var ghosts: [Range<UInt64>] = []
    if size > old, let below = opened.below { ghosts = try below.config.ghosts(in: old..<size, remote: remote) }
    do throws(UpperError) { try upper.resize(to: size, shrinks: force, hiding: ghosts) } catch { throw .upper(error) }
    var notes = upper.recovery.lines
    try opened.close()
    if let below = opened.below, size < old {
      var hidden: UInt64 = 0
      try below.forEachStoredRange { range throws(ImageError) in
        if range.upperBound > size { hidden += range.upperBound - max(size, range.lowerBound) }
      }
      if hidden > 0 { notes.append("\(hidden) bytes of the layers below are beyond the disk's end now") }
    }
    if size > old { notes.append("the file system on the disk has to be grown to use what was added") }
    return ResizeResult(oldSize: old, newSize: size, lostBytes: written, notes: notes)
  }
}

extension Segment {
  /// Bytes of data that it maps beyond byte `end` of the device.
  fileprivate func dataBytes(beyond end: UInt64) -> UInt64 {
    let first = max(offset, end / UInt64(sectorSize))
    return isZeroed || first >= self.end ? 0 : (self.end - first) * UInt64(sectorSize)
  }
}
