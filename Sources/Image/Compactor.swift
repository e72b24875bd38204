import LSMT
import UpperLayer

/// Gives the space of overwritten data of a disk that is not in use back.
public struct Compactor {
  /// Compacts the upper of the configuration at `path`, or that in the data file there, whose index is `index`. At most
  /// `bytesPerSecond` bytes are given back in a second; nil is as fast as it goes.
  public static func run(
    _ path: String, index: String? = nil, bytesPerSecond: UInt64?, pendingFolder: String,
    remote: RemoteSettings? = nil, progress: (Progress) -> Void
  ) throws(ImageError) -> (report: CompactionReport, notes: [String]) {
    let target = try OpenedUpper.Target(path, index: index, pendingFolder: pendingFolder)
    let opened = try OpenedUpper.open(target, pendingFolder: pendingFolder, remote: remote)
    let report: CompactionReport
    do throws(UpperError) {
      // Nobody else has it open.
      report = try opened.upper.compact(
        bytesPerSecond: bytesPerSecond, waitForReaders: { true },
        shouldGoOn: {
          progress(Progress(done: $0.doneBytes, total: $0.deadBytes))
          return true
        })
    } catch {
      try? opened.close()
      throw .upper(error)
    }
    try opened.close()
    return (report, opened.upper.recovery.lines)
  }
}
