import BlobStore
import Device
import Posix

/// What a device has done, in numbers: `warmblk stats`. Asks nobody: it is read from the device's files.
public struct DeviceStatistics: Encodable, Sendable {
  /// How long requests of a class took, nanoseconds; a quantile is at most 12.5 % too long.
  public struct Latency: Encodable, Equatable, Sendable {
    /// Requests that were timed.
    public var requests: UInt64
    /// Half of them did not take longer; nil without requests.
    public var p50: UInt64?
    /// 99 of 100 did not.
    public var p99: UInt64?
    /// 999 of 1000 did not.
    public var p999: UInt64?
    /// None did.
    public var max: UInt64?

    init(_ histogram: LatencyHistogram) {
      requests = histogram.total
      p50 = histogram.quantile(0.5)
      p99 = histogram.quantile(0.99)
      p999 = histogram.quantile(0.999)
      max = histogram.quantile(1)
    }
  }

  /// The number N of `/dev/ublkbN`.
  public var id: UInt32
  /// Requests served.
  public var requests: UInt64
  /// Bytes read by them.
  public var bytes: UInt64
  /// Bytes written; nil when the disk is read-only.
  public var writtenBytes: UInt64?
  /// FLUSHes, and writes that went through the cache; nil when the disk is read-only.
  public var flushes: UInt64?
  /// Requests that failed.
  public var errors: UInt64
  /// Reads that were served with what this machine had. Those that the kernel answers by itself, after a read of one
  /// extent of an uncompressed layer, and those that are nothing but zeroes, are not timed.
  public var local: Latency
  /// Reads that waited for the network.
  public var network: Latency
  /// Writes; those that went through the cache until they were durable. Nil when the disk is read-only, or its server is
  /// of a version that does not time them.
  public var write: Latency?
  /// FLUSHes; nil as `write` is. What gives space back, DISCARD and WRITE_ZEROES, is not timed.
  public var flush: Latency?
  /// What the store of its remote layers has done; nil without any.
  public var store: StoreSnapshot?
  /// What is in the writable layer; nil without one.
  public var upper: UpperStatus?
  /// What became of a prefetch; nil without one.
  public var warm: WarmStatus?
  /// What is being recorded; nil when nothing is.
  public var recording: RecordingCounts?

  private var histograms: [LatencyHistogram.Class: LatencyHistogram]

  private enum CodingKeys: CodingKey {
    case id, requests, bytes, writtenBytes, flushes, errors, local, network, write, flush, store, upper, warm, recording
  }

  /// Of device `id` since it was made.
  public static func read(_ id: UInt32, _ directory: RunDirectory) throws(HostError) -> DeviceStatistics {
    guard let state = try directory.state(id) else {
      throw .refused("there is no device \(id); `warmblk list` shows the devices")
    }
    let path = directory.countersPath(id)
    let reading = try HostError.describing("read the counters \(path)") { () throws(Errno) in
      try CounterPage.read(path)
    }
    let total = reading.counters.total
    let histograms = reading.latencies(isWritable: state.upper != nil)
    return DeviceStatistics(
      id: id, requests: total.requests, bytes: total.bytes,
      writtenBytes: state.upper.map { _ in total.writtenBytes }, flushes: state.upper.map { _ in total.flushes },
      errors: total.errors,
      local: Latency(histograms[.local] ?? LatencyHistogram()),
      network: Latency(histograms[.remote] ?? LatencyHistogram()),
      write: histograms[.write].map(Latency.init), flush: histograms[.flush].map(Latency.init),
      store: RemoteStatus.read(directory.remotePath(id))?.counts,
      upper: UpperStatus.read(directory.upperPath(id)), warm: WarmStatus.read(directory.warmPath(id)),
      recording: state.server.isAlive ? reading.recording : nil, histograms: histograms)
  }

  /// What came after `earlier`: counts and times of the requests in between, and grades of chunks.
  public func since(_ earlier: DeviceStatistics) -> DeviceStatistics {
    var change = self
    // A device that was made anew in between counts from 0.
    func difference(_ now: UInt64, _ before: UInt64) -> UInt64 { now >= before ? now - before : now }
    change.requests = difference(requests, earlier.requests)
    change.bytes = difference(bytes, earlier.bytes)
    change.errors = difference(errors, earlier.errors)
    if let now = writtenBytes { change.writtenBytes = difference(now, earlier.writtenBytes ?? 0) }
    if let now = flushes { change.flushes = difference(now, earlier.flushes ?? 0) }
    if let before = earlier.warm { change.warm = warm?.since(before) }
    for (kind, histogram) in histograms {
      change.histograms[kind] = histogram.since(earlier.histograms[kind] ?? LatencyHistogram())
    }
    change.local = Latency(change.histograms[.local] ?? LatencyHistogram())
    change.network = Latency(change.histograms[.remote] ?? LatencyHistogram())
    change.write = change.histograms[.write].map(Latency.init)
    change.flush = change.histograms[.flush].map(Latency.init)
    return change
  }
}

extension CounterPage.Reading {
  /// The histograms that a device can have something in: a read-only one has no writes.
  func latencies(isWritable: Bool) -> [LatencyHistogram.Class: LatencyHistogram] {
    latencies.filter { isWritable || $0.key == .local || $0.key == .remote }
  }
}

/// A time for a person: `870 ns`, `12.5 us`, `3.1 ms`, `2.0 s`; `-` for none.
public func formatTime(_ nanoseconds: UInt64?) -> String {
  guard let nanoseconds else { return "-" }
  if nanoseconds < 1000 { return "\(nanoseconds) ns" }
  for (unit, size) in [("us", UInt64(1000)), ("ms", 1_000_000)] where nanoseconds < size * 1000 {
    return "\(nanoseconds / size).\(nanoseconds % size * 10 / size) \(unit)"
  }
  return "\(nanoseconds / 1_000_000_000).\(nanoseconds % 1_000_000_000 / 100_000_000) s"
}
