import BlobStore
import Device
import Image
import Logging
import Posix

/// The prefetch of a device, from its plan to its grades. For the thread that controls the device.
final class Warming {
  /// Milliseconds after the first round within which what was brought should be read; what is not by then was wasted.
  private static let window: UInt64 = 60_000

  private let plan: WarmPlan
  private let options: WarmOptions
  private let image: Image
  private let prefetcher: Prefetcher
  /// What was last known of one moment.
  private var last: (progress: PrefetchProgress, grades: Grades)
  private var isStopped = false
  private var endedAt: UInt64?
  private var written: WarmStatus?
  private let fetchesBefore: UInt64

  /// Starts fetching what `plan` names.
  init(_ plan: WarmPlan, _ options: WarmOptions, _ image: Image, threads: Int, _ directory: RunDirectory)
    throws(HostError)
  {
    self.plan = plan
    self.options = options
    self.image = image
    var prefetch = PrefetchOptions(bytesPerSecond: options.bytesPerSecond)
    if let settings = image.remote?.settings {
      prefetch.patience = settings.ioTimeout
      if let rate = settings.nodePrefetchRate {
        prefetch.nodeRate = try HostError.describing("share the node's rate of prefetch") { () throws(Errno) in
          try NodeRate(path: directory.prefetchRatePath, bytesPerSecond: rate)
        }
      }
    }
    // Also those of layers that no trace names.
    image.remote?.store.startGrading(of: image.layers.compactMap { $0.blob.remote?.blob })
    fetchesBefore = image.remote?.store.counters.snapshot.prefetches ?? 0
    prefetcher = try HostError.describing("start the prefetch") { () throws(Errno) in
      let prefetcher = try Prefetcher(plan, for: image, threads: threads, options: prefetch)
      try prefetcher.start()
      return prefetcher
    }
    last = (prefetcher.progress, Grades())
  }

  /// Readable once something changed since it was read.
  var changeDescriptor: Int32 { prefetcher.changeDescriptor }

  /// Starts no more.
  func stop() {
    isStopped = true
    prefetcher.stop()
  }

  /// Looks whether everything has been tried once, and says then how that went.
  func step(_ log: Logger) {
    prefetcher.clearChange()
    let progress = prefetcher.progress
    guard progress.hasEnded, endedAt == nil else { return }
    endedAt = monotonicNanoseconds()
    if let error = progress.lastError { log.warning("prefetch: \(error)") }
    log.info("\(summary)")
  }

  /// Bytes that are here and bytes that are wanted.
  var share: (done: UInt64, total: UInt64) {
    let progress = prefetcher.progress
    return (progress.hereBytes, progress.wantedBytes)
  }

  /// Whether nobody has to wait any longer.
  var isEnough: Bool {
    let progress = prefetcher.progress
    return progress.hasEnded || Double(progress.hereBytes) >= Double(progress.wantedBytes) * options.share
  }

  // MARK: In numbers

  /// One line: ranges, bytes, requests, time, rate, and what failed.
  var summary: String {
    let status = status
    let seconds = Double(status.milliseconds) / 1000
    let rate = status.milliseconds > 0 ? UInt64(Double(status.fetchedBytes) / seconds) : 0
    var words =
      "warm: \(plan.ranges) ranges, \(formatBytes(status.fetchedBytes)) fetched in \(status.requests) requests, "
      + "\(formatBytes(status.residentBytes)) were here, \(formatTime(status.milliseconds * 1_000_000))"
      + (rate > 0 ? ", \(formatBytes(rate))/s" : "")
    if status.localBytes > 0 { words += "; \(formatBytes(status.localBytes)) are in files of this machine" }
    let here = status.residentBytes + status.fetchedBytes
    if here < status.wantedBytes {
      words += "; \(here * 100 / max(1, status.wantedBytes)) % of \(formatBytes(status.wantedBytes)) so far"
    }
    if status.failedBytes > 0 {
      words += "; \(formatBytes(status.failedBytes)) failed: \(status.trouble ?? "nobody knows why")"
    }
    return words
  }

  /// How far the prefetch is and what became of it, of one moment: on the store's thread what fails is noted in both at
  /// once. A store that does not answer says what it said last.
  private func look() -> (progress: PrefetchProgress, grades: Grades) {
    guard let store = image.remote?.store, !isStopped else { return (prefetcher.progress, last.grades) }
    let answer = OneShot<(progress: PrefetchProgress, grades: Grades)>()
    store.grades(of: image.layers.compactMap { $0.blob.remote?.blob }) { [prefetcher] in
      answer.set((prefetcher.progress, $0))
    }
    if let now = answer.wait(Deadline(milliseconds: 1000)) { last = now }
    return last
  }

  /// As it is now.
  var status: WarmStatus {
    let (progress, grades) = look()
    var status = WarmStatus(state: progress.isWarm ? .warm : progress.isOver ? .incomplete : .warming)
    status.wantedBytes = progress.wantedBytes
    status.residentBytes = progress.residentBytes
    status.fetchedBytes = progress.fetchedBytes
    status.failedBytes = grades.failedBytes
    status.localBytes = plan.localBytes
    status.requests = (image.remote?.store.counters.snapshot.prefetches ?? 0) - fetchesBefore
    status.milliseconds = progress.milliseconds
    status.hitChunks = grades.hit
    status.lateChunks = grades.late
    status.failedChunks = grades.failed
    status.untracedChunks = grades.untraced
    let isJudged = endedAt.map { monotonicNanoseconds() - $0 > Self.window * 1_000_000 } ?? false
    if isJudged { status.wastedChunks = grades.unread } else { status.unreadChunks = grades.unread }
    status.trouble = progress.lastError.map { "\($0)" }
    return status
  }

  /// Writes the status to `path` if it has changed.
  func report(_ path: String) {
    let status = status
    if status != written {
      status.write(path)
      written = status
    }
  }
}
