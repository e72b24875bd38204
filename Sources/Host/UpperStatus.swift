import Device
import UpperLayer

/// What the server of a writable device says of its upper once a second: the file `N.upper.json`.
public struct UpperStatus: StatusFile, Equatable, Sendable {
  /// Mappings that are not in the index file yet: the next flush puts them there.
  public var pendingEntries: Int
  /// Bytes of the disk that are read from the upper's data.
  public var dataBytes: UInt64
  /// Bytes of the data file that nothing maps any more.
  public var garbageBytes: UInt64
  /// Mappings in memory.
  public var segments: Int
  /// Bytes of memory that they take.
  public var memoryBytes: Int

  /// As `upper` is now.
  init(_ upper: Upper) {
    pendingEntries = upper.pendingCount
    dataBytes = upper.index.dataSectors * 512
    garbageBytes = upper.garbageBytes
    segments = upper.index.segmentCount
    memoryBytes = upper.index.byteCount
  }

  /// Keeps the file at `path` as the upper of a device is; writes it only when that has changed.
  final class Watch {
    private let device: Device
    private let path: String
    private var written: UpperStatus?

    init(_ device: Device, path: String) {
      self.device = device
      self.path = path
    }

    func report() {
      guard let upper = device.upper else { return }
      let status = UpperStatus(upper)
      if status == written { return }
      status.write(path)
      written = status
    }
  }
}
