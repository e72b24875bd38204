import BlobStore
import Device
import Image
import Logging
import Posix
import Synchronization

/// The prefetch of a device, from its plan to its grades. For the thread that controls the device.
final class Warming {
  /// Milliseconds after the first round within which what was brought should be read; what is not by then was wasted.
  private static let window: UInt64 = 60_000

  private let plan: WarmPlan
  private let options: WarmOptions
  private let image: Image
  private let threads: Int
  private let prefetcher: Prefetcher
  private let grades = LastGrades()
  private var fill: PageFill?
  private var fillBegan: UInt64 = 0
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
    self.threads = threads
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
  }

  /// Readable once something changed since it was read.
  var changeDescriptor: Int32 { prefetcher.changeDescriptor }

  /// Starts no more.
  func stop() {
    prefetcher.stop()
    fill?.stop()
  }

  /// What is next on the way to be warm: the page cache is filled once the bytes are here. `path` is the device.
  func step(_ path: String, _ log: Logger) {
    prefetcher.clearChange()
    let progress = prefetcher.progress
    guard progress.hasEnded else { return }
    if endedAt == nil {
      endedAt = monotonicNanoseconds()
      if let error = progress.lastError { log.warning("prefetch: \(error)") }
      log.info("\(summary)")
    }
    // Reads of what is not here would take as long as the registry is away.
    guard options.level == .pageCache, fill == nil, progress.isWarm else { return }
    let fill = PageFill(plan.deviceRanges, path: path)
    self.fill = fill
    fillBegan = monotonicNanoseconds()
    do throws(Errno) { try fill.start(threads: threads) } catch {
      log.warning("the page cache of \(path) is not filled: \(error)")
    }
  }

  /// Bytes that are here and bytes that are wanted, of what is waited for.
  var share: (done: UInt64, total: UInt64) {
    let progress = prefetcher.progress
    let filled = fill?.progress.bytes ?? 0
    let pages = options.level == .pageCache ? plan.deviceRanges.reduce(0) { $0 + UInt64($1.count) } : 0
    return (progress.hereBytes + filled, progress.wantedBytes + pages)
  }

  /// Whether nobody has to wait any longer.
  var isEnough: Bool {
    let (done, total) = share
    if Double(done) >= Double(total) * options.share { return true }
    let progress = prefetcher.progress
    guard progress.hasEnded else { return false }
    return options.level == .blob || !progress.isWarm || (fill?.progress.isOver ?? false)
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
    if let fill {
      words += "; page cache: \(formatBytes(fill.progress.bytes)) of \(formatBytes(fill.wantedBytes))"
    } else if options.level == .pageCache {
      words += "; page cache: nothing, as long as bytes are missing"
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

  /// As it is now.
  var status: WarmStatus {
    let progress = prefetcher.progress
    let grades = grades.value
    var status = WarmStatus(state: progress.isWarm ? .warm : progress.isOver ? .incomplete : .warming)
    status.wantedBytes = progress.wantedBytes
    status.residentBytes = progress.residentBytes
    status.fetchedBytes = progress.fetchedBytes
    status.failedBytes = progress.failedBytes
    status.localBytes = plan.localBytes
    status.requests = (image.remote?.store.counters.snapshot.prefetches ?? 0) - fetchesBefore
    status.milliseconds = progress.milliseconds
    status.hitChunks = grades.hit
    status.lateChunks = grades.late
    status.failedChunks = grades.failed
    status.untracedChunks = grades.untraced
    let isJudged = endedAt.map { monotonicNanoseconds() - $0 > Self.window * 1_000_000 } ?? false
    if isJudged { status.wastedChunks = grades.unread } else { status.unreadChunks = grades.unread }
    status.pageCacheBytes = fill?.progress.bytes
    let fillError = fill?.progress.lastError.map { "the page cache: \($0)" }
    status.trouble = progress.lastError.map { "\($0)" } ?? fillError
    return status
  }

  /// Writes the status to `path` if it has changed, and asks for new grades.
  func report(_ path: String) {
    let status = status
    if status != written {
      status.write(path)
      written = status
    }
    let blobs = image.layers.compactMap { $0.blob.remote?.blob }
    image.remote?.store.grades(of: blobs) { [grades] in grades.value = $0 }
  }
}

/// What the store said last.
private final class LastGrades: Sendable {
  private let grades = Mutex(Grades())

  var value: Grades {
    get { grades.withLock { $0 } }
    set { grades.withLock { $0 = newValue } }
  }
}
