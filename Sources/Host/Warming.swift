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
  /// Once its page cache is being filled.
  private var disk: HeldDisk?
  private var wasFillTold = false
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

  /// Takes the next step when its time has come: once everything has been tried, says how that went; once all of it is
  /// here, has the page cache of `device` filled, if that is wanted, and says how that went.
  func step(_ device: Device, _ log: Logger) {
    prefetcher.clearChange()
    let progress = prefetcher.progress
    if progress.hasEnded, endedAt == nil {
      endedAt = monotonicNanoseconds()
      if let error = progress.lastError { log.warning("prefetch: \(error)") }
      if options.level == .blob || !progress.isWarm { log.info("\(summary)") }
    }
    // Reads of what is not here would take as long as the registry is away.
    guard options.level == .pageCache, progress.hasEnded, progress.isWarm, !wasFillTold else { return }
    if disk == nil {
      disk = device.heldDisk
      do throws(Errno) {
        try device.heldDisk.fill(plan.deviceRanges, change: prefetcher.changeDescriptor)
      } catch {
        log.warning("the page cache of \(device.path) is not filled: \(error)")
      }
    }
    guard let pages = disk?.progress, pages.isOver else { return }
    wasFillTold = true
    if let error = pages.lastError { log.warning("the page cache of \(device.path): \(error)") }
    log.info("\(summary)")
  }

  /// What is waited for now, bytes that are there and bytes that are wanted: first those as stored, then those of the disk.
  var news: StartMessage {
    if let pages = disk?.progress { return .filling(done: pages.filledBytes, total: pages.wantedBytes) }
    let progress = prefetcher.progress
    return .progress(done: progress.hereBytes, total: progress.wantedBytes)
  }

  /// Whether nobody has to wait any longer.
  var isEnough: Bool {
    let progress = prefetcher.progress
    let isFilling = options.level == .pageCache
    let done = progress.hereBytes + (disk?.progress.filledBytes ?? 0)
    let total = progress.wantedBytes + (isFilling ? plan.deviceBytes : 0)
    if Double(done) >= Double(total) * options.share { return true }
    return progress.hasEnded && (!isFilling || !progress.isWarm || disk?.progress.isOver ?? false)
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
    if let pages = status.pageCache {
      words += "; page cache: \(formatBytes(pages.filledBytes)) of \(formatBytes(pages.wantedBytes))"
      if pages.milliseconds > 0 { words += " in \(formatTime(pages.milliseconds * 1_000_000))" }
      if pages.failedBytes > 0 { words += ", \(formatBytes(pages.failedBytes)) cannot be read" }
    }
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
    if options.level == .pageCache {
      let pages = disk?.progress ?? HeldDisk.Progress()
      if progress.isWarm { status.state = pages.isFilled ? .warm : pages.isOver ? .incomplete : .warming }
      status.pageCache = WarmStatus.PageCache(
        wantedBytes: plan.deviceBytes, filledBytes: pages.filledBytes, failedBytes: pages.failedBytes,
        milliseconds: pages.milliseconds, isHeld: pages.isHeld)
    }
    status.level = options.level
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
    status.trouble =
      progress.lastError.map { "\($0)" } ?? disk?.progress.lastError.map { "the page cache: \($0)" }
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
