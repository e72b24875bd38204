import Trace

/// From traces to ranges of the disk.
extension WarmPlan {
  /// Bytes of a page: what is read into a page cache, and what is rounded to.
  static let pageBytes: UInt64 = 4096

  /// What of a disk `traces` name: whole pages, each once, in the order of first touch.
  static func deviceRanges(_ traces: [AccessTrace], deviceSize: UInt64) -> [Range<UInt64>] {
    var runs: [(pages: Range<UInt64>, microseconds: UInt64)] = []
    for trace in traces {
      for access in trace.accesses {
        let part = access.device.clamped(to: 0..<deviceSize)
        if part.isEmpty { continue }
        let pages = part.lowerBound / pageBytes..<(part.upperBound + pageBytes - 1) / pageBytes
        // Block by block is how a trace names what was read in one go.
        if let last = runs.last, last.pages.contains(pages.lowerBound) || last.pages.upperBound == pages.lowerBound {
          let end = max(last.pages.upperBound, pages.upperBound)
          // The next trace may begin where the last one ended.
          runs[runs.count - 1] = (last.pages.lowerBound..<end, min(last.microseconds, access.microseconds))
        } else {
          runs.append((pages, access.microseconds))
        }
      }
    }
    runs.sort { $0.pages.lowerBound < $1.pages.lowerBound }
    var once: [(pages: Range<UInt64>, microseconds: UInt64)] = []
    for run in runs {
      if let last = once.last, last.pages.upperBound > run.pages.lowerBound {
        let end = max(last.pages.upperBound, run.pages.upperBound)
        once[once.count - 1] = (last.pages.lowerBound..<end, min(last.microseconds, run.microseconds))
      } else {
        once.append(run)
      }
    }
    once.sort { ($0.microseconds, $0.pages.lowerBound) < ($1.microseconds, $1.pages.lowerBound) }
    return once.map { $0.pages.lowerBound * pageBytes..<min(deviceSize, $0.pages.upperBound * pageBytes) }
  }
}
