import ArgumentParser
import Glibc
import Host

struct Stats: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats",
    abstract: "Show what a device has done, and how long its users waited.",
    discussion: """
      Requests, bytes and errors; how long reads took that were served here, and those that waited for the network: half
      of them at most p50, 99 of 100 at most p99, and so on, to 12.5 %; of a writable disk also how long writes and flushes
      took. Then what the store of remote layers did, and what became of a prefetch. A request is timed from the moment
      when the server sees it until it is answered; a write through the cache (FUA) is so when it is durable. Not timed are
      reads that cost too little for it: what the kernel answers by itself after a read of an uncompressed layer, and
      zeroes; nor is what gives space back (DISCARD, WRITE_ZEROES). Asks no server, so that it answers also when one hangs.

        warmblk stats -n 0
        warmblk stats -n 0 --watch
        warmblk stats -n 0 --json | jq .network.p99

      With --watch a line a second, of this second only, until the device is gone; with --json too, an object a second,
      of all since the device was made.
      """)

  @Option(
    name: [.customShort("n"), .customLong("id")], help: ArgumentHelp("The number N of /dev/ublkbN.", valueName: "n"))
  var id: UInt32

  @Flag(help: "Again each second, until the device is gone.")
  var watch = false

  @Flag(help: "An object; bytes, and nanoseconds.")
  var json = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    common.installLog()
    try failing("stats") { () throws(HostError) in
      let directory = RunDirectory.standard()
      var last = try DeviceStatistics.read(id, directory)
      if !watch { return try show(last) }
      if !json { print(Self.row("SECOND", Self.columns(last))) }
      let first = last
      var second = 0
      while true {
        sleep(1)
        guard try directory.state(id) != nil else { return }
        let now = try DeviceStatistics.read(id, directory)
        second += 1
        if json { try printJSON(now) } else { print(Self.row("\(second)", Self.cells(now.since(last), as: first))) }
        fflush(nil)
        last = now
      }
    }
  }

  private func show(_ statistics: DeviceStatistics) throws(HostError) {
    if json { return try printJSON(statistics) }
    print(
      "/dev/ublkb\(id): \(statistics.requests) requests, \(formatBytes(statistics.bytes)), \(statistics.errors) errors")
    let classes: [(String, DeviceStatistics.Latency?)] = [
      ("reads served here", statistics.local), ("reads from the network", statistics.network),
      ("writes", statistics.write), ("flushes", statistics.flush),
    ]
    let rows = classes.compactMap { name, latency in
      latency.map { [name, "\($0.requests)"] + [$0.p50, $0.p99, $0.p999, $0.max].map(formatTime) }
    }
    print(
      formatTable([["REQUESTS", "TIMED", "P50", "P99", "P99.9", "MAX"]] + rows, rightAligned: [1, 2, 3, 4, 5]))
    if let store = statistics.store {
      print(
        "store: \(formatBytes(store.fetchedBytes)) fetched in \(store.fetches) requests, \(store.waits) waits, "
          + "\(store.joins) joined, \(store.repairs) repaired, \(store.bypasses) bypassed, \(store.failures) failed")
    }
    if let upper = statistics.upper {
      print(
        "upper: \(formatBytes(statistics.writtenBytes ?? 0)) written, \(statistics.flushes ?? 0) flushes; "
          + "\(formatBytes(upper.dataBytes)) of the disk in \(upper.segments) pieces, "
          + "\(formatBytes(upper.garbageBytes)) garbage, \(upper.pendingEntries) entries pending")
    }
    if let warm = statistics.warm { print(Self.line(warm)) }
    if let recording = statistics.recording {
      print("recording: \(recording.accesses) accesses, \(formatBytes(recording.bytes)), \(recording.lost) lost")
    }
  }

  private static func line(_ warm: WarmStatus) -> String {
    let trouble = warm.trouble.map { "; \($0)" } ?? ""
    let pages =
      warm.pageCache.map {
        "; page cache: \(formatBytes($0.filledBytes)) of \(formatBytes($0.wantedBytes))\($0.isHeld ? "" : ", not held")"
      } ?? ""
    return "prefetch: \(warm.state.rawValue), \(formatBytes(warm.wantedBytes)) wanted, "
      + "\(formatBytes(warm.residentBytes)) were here, \(formatBytes(warm.fetchedBytes)) fetched in "
      + "\(warm.requests) requests; chunks: \(warm.hitChunks) hit, \(warm.lateChunks) late, \(warm.wastedChunks) wasted, "
      + "\(warm.failedChunks) failed, \(warm.untracedChunks) untraced\(pages)\(trouble)"
  }

  /// What a device has columns for is as at the start: a table's head is printed once.
  private static func columns(_ first: DeviceStatistics) -> [String] {
    func times(_ name: String) -> [String] { [name, "P50", "P99", "P99.9"] }
    return ["REQUESTS", "BYTES", "ERRORS"] + times("HERE") + times("NETWORK")
      + (first.write == nil ? [] : ["WRITTEN"] + times("WRITES") + times("FLUSHES"))
      + (first.warm == nil ? [] : ["HIT", "LATE", "WASTED", "FAILED", "UNTRACED"])
  }

  private static func grades(_ warm: WarmStatus) -> [String] {
    [warm.hitChunks, warm.lateChunks, warm.wastedChunks, warm.failedChunks, warm.untracedChunks].map { "\($0)" }
  }

  private static func cells(_ change: DeviceStatistics, as first: DeviceStatistics) -> [String] {
    func cells(_ latency: DeviceStatistics.Latency?) -> [String] {
      ["\(latency?.requests ?? 0)"] + [latency?.p50, latency?.p99, latency?.p999].map(formatTime)
    }
    return ["\(change.requests)", formatBytes(change.bytes), "\(change.errors)"] + cells(change.local)
      + cells(change.network)
      + (first.write == nil ? [] : [formatBytes(change.writtenBytes ?? 0)] + cells(change.write) + cells(change.flush))
      + (first.warm == nil ? [] : change.warm.map(grades) ?? [])
  }

  /// Lines that come one by one cannot have the widths of a table.
  private static func row(_ first: String, _ cells: [String]) -> String {
    func padded(_ cell: String, _ width: Int) -> String {
      String(repeating: " ", count: max(0, width - cell.count)) + cell
    }
    return padded(first, 6) + cells.map { "  " + padded($0, 9) }.joined()
  }
}
