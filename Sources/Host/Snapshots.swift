import Glibc
import Posix

/// Making what was written to a device a layer, while it is used: `warmblk snapshot`.
public enum Snapshots {
  /// A snapshot that was made.
  public struct Report: Codable, Equatable, Sendable {
    /// The layer that was the upper's data file, absolute.
    public var layer: String
    /// Bytes of it.
    public var layerBytes: UInt64
    /// Its identity.
    public var uuid: String
    /// The data file of the new upper, absolute.
    public var upper: String
    /// The image's configuration, which names both now.
    public var config: String
    /// For how long requests were held, microseconds: when writes went to the new upper, and when the image got its layer.
    public var pausesMicroseconds: [UInt64]
  }

  /// What the files of a new upper are called.
  static let dataName = "upper.data"
  static let indexName = "upper.index"

  /// Makes the upper of device `id` a layer of its image, and an upper in `folder`, which is made if it is not there, the new
  /// one. `timeout`: seconds.
  public static func run(
    _ id: UInt32, newUpper folder: String, _ directory: RunDirectory, timeout: Int
  ) throws(HostError) -> Report {
    let isNew = !fileExists(folder)
    let path = "\(folder)/\(dataName)"
    do throws(HostError) {
      try HostError.describing("make the folder \(folder)") { () throws(Errno) in try makeDirectories(folder) }
      let handle = try TraceFolder.of(path)
      let reply = try ControlClient(id: id, directory: directory).ask(
        .snapshot(path: path), passing: handle.rawValue, Deadline(milliseconds: timeout * 1000))
      guard case .snapshot(let report) = reply else {
        throw .refused("the server of device \(id) answers something else; is it of another version of warmblk?")
      }
      return report
    } catch {
      // Where there is something in it, it stays.
      if isNew { _ = rmdir(folder) }
      throw error
    }
  }
}
