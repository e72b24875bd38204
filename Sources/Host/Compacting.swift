import Device
import Posix
import UpperLayer

/// Giving back the space of what was overwritten: `warmblk compact`.
public enum Compacting {
  /// What it came to.
  public struct Report: Codable, Equatable, Sendable {
    /// `complete`, `cancelled`, `writersDidNotEnd` or `readersDidNotEnd`.
    public var outcome: String
    /// Bytes of the data file that nothing mapped, in whole pages.
    public var deadBytes: UInt64
    /// Bytes of them that were stored and are given back.
    public var freedBytes: UInt64
    /// Entries of the index file before.
    public var indexEntriesBefore: UInt64
    /// Entries of the index file after.
    public var indexEntriesAfter: UInt64

    /// From the layer's own.
    public init(_ report: CompactionReport) {
      outcome = report.outcome.rawValue
      deadBytes = report.progress.deadBytes
      freedBytes = report.progress.freedBytes
      indexEntriesBefore = report.indexEntriesBefore
      indexEntriesAfter = report.indexEntriesAfter
    }

    /// Why not all was given back; nil when all was.
    public var problem: String? {
      switch CompactionReport.Outcome(rawValue: outcome) {
      case .complete: nil
      case .cancelled: "it was told to stop: what was given back stays so, and the rest can be had by another call"
      case .writersDidNotEnd: "writes were under way for 30 s: nothing was given back; see the upper's disk"
      case .readersDidNotEnd:
        "reads were under way that did not end, such as those that wait for a registry: nothing was given back; try again"
      case nil: "it ended in a way that this version does not know: \(outcome)"
      }
    }
  }

  /// Compacts the upper of device `id` while it is used. At most `bytesPerSecond` bytes are given back in a second; nil is
  /// as fast as it goes. It ends when this process does.
  public static func run(
    _ id: UInt32, bytesPerSecond: UInt64?, _ directory: RunDirectory, progress: (UInt64, UInt64) -> Void
  ) throws(HostError) -> Report {
    let reply = try ControlClient(id: id, directory: directory).ask(
      .compact(bytesPerSecond: bytesPerSecond), Deadline(milliseconds: 365 * 86_400_000)
    ) { reply in
      if case .progress(let done, let total) = reply { progress(done, total) }
    }
    guard case .compacted(let report) = reply else {
      throw .refused("the server of device \(id) answers something else; is it of another version of warmblk?")
    }
    return report
  }

  /// Milliseconds for which requests are held at the most, waiting for those under way; and how often that is tried.
  private static let waitMilliseconds = 500
  private static let attempts = 6

  /// The server's part.
  static func perform(
    on device: Device, bytesPerSecond: UInt64?, _ operation: LiveOperation
  ) throws(HostError) -> Report {
    guard let upper = device.upper else {
      throw .refused("\(device.path) cannot be written: there is nothing to compact")
    }
    do throws(UpperError) {
      let report = try upper.compact(
        bytesPerSecond: bytesPerSecond,
        waitForReaders: {
          for _ in 0..<attempts where operation.isWanted {
            if (try? device.waitForReaders(Deadline(milliseconds: waitMilliseconds))) != nil { return true }
          }
          return false
        },
        shouldGoOn: { progress in
          operation.show(.progress(done: progress.doneBytes, total: progress.deadBytes))
          return operation.isWanted
        })
      return Report(report)
    } catch {
      throw .upper(error)
    }
  }
}
