import Glibc
import Posix

/// The counters of a device in a small file that the server maps: programs read them without asking the server, also
/// when it is stuck or gone.
///
///     0   u64  magic, "WBLKCNT" and the version, 3
///     8   u32  queues
///     12  u32  bytes per queue, 64
///     16  u32  where the histograms begin, a multiple of 4096
///     20  u32  bytes per queue of histograms, 8192
///     24       what is being recorded, `RecordingCounts`
///     64       one `QueueCounters` per queue
///     …        per queue one `LatencyHistogram` for each class: 256 u64
///
/// Version 2 had the first two classes, and 4096 bytes per queue of histograms. Version 1 ended after the counters.
public final class CounterPage: @unchecked Sendable {
  private static let magic: UInt64 = 0x0354_4e43_4b4c_4257
  /// Classes of the histograms that each version has, by its magic.
  private static let classes: [UInt64: ArraySlice<LatencyHistogram.Class>] = [
    magic: LatencyHistogram.Class.allCases[...], 0x0254_4e43_4b4c_4257: LatencyHistogram.Class.allCases[..<2],
    0x0154_4e43_4b4c_4257: [],
  ]
  private static let recordingOffset = 24
  private static let headerBytes = 64
  private static let stride = 64
  private static let page = 4096

  private let memory: MemoryMapping
  /// Queues that have counters.
  public let queues: Int

  private static func latencyOffset(queues: Int) -> Int {
    (headerBytes + queues * stride + page - 1) / page * page
  }

  /// Makes the file, or starts it anew, for `queues` queues.
  public init(path: String, queues: Int) throws(Errno) {
    precondition(MemoryLayout<QueueCounters>.stride == Self.stride)
    precondition(Self.recordingOffset + MemoryLayout<RecordingCounts>.stride <= Self.headerBytes)
    let latencyOffset = Self.latencyOffset(queues: queues)
    let bytes = latencyOffset + queues * LatencyCounts.bytes
    let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_TRUNC)
    try file.truncate(to: UInt64(bytes))
    memory = try MemoryMapping(
      count: bytes, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED, file: file.rawValue, offset: 0)
    self.queues = queues
    memory.base.storeBytes(of: UInt32(queues), toByteOffset: 8, as: UInt32.self)
    memory.base.storeBytes(of: UInt32(Self.stride), toByteOffset: 12, as: UInt32.self)
    memory.base.storeBytes(of: UInt32(latencyOffset), toByteOffset: 16, as: UInt32.self)
    memory.base.storeBytes(of: UInt32(LatencyCounts.bytes), toByteOffset: 20, as: UInt32.self)
    memory.base.storeBytes(of: Self.magic, as: UInt64.self)
  }

  /// Goes on with the file of a server that is gone, or makes one where it is not what `queues` queues need: with the counts
  /// of the old one if that is only of an earlier version. What was being recorded is not any more.
  public init(continuing path: String, queues: Int) throws(Errno) {
    let reading = (try? Self.read(path)).flatMap { $0.counters.count == queues ? $0 : nil }
    if reading?.latencies.count != LatencyHistogram.Class.allCases.count {
      let page = try CounterPage(path: path, queues: queues)
      if let reading { page.take(reading) }
    }
    let file = try Descriptor.open(path, O_RDWR)
    memory = try MemoryMapping(
      count: Self.latencyOffset(queues: queues) + queues * LatencyCounts.bytes, protection: PROT_READ | PROT_WRITE,
      flags: MAP_SHARED, file: file.rawValue, offset: 0)
    self.queues = queues
    setRecording(nil)
  }

  /// Has a new page begin with `reading`, which is of as many queues. What it has of all of them together is the first one's.
  private func take(_ reading: Reading) {
    for (queue, counts) in reading.counters.enumerated() { counters(queue).pointee = counts }
    if queues > 0 { for (kind, histogram) in reading.latencies { latencies(0).set(kind, histogram) } }
  }

  /// The counters of a queue, for its thread.
  func counters(_ queue: Int) -> UnsafeMutablePointer<QueueCounters> {
    (memory.base + Self.headerBytes + queue * Self.stride).assumingMemoryBound(to: QueueCounters.self)
  }

  /// The histograms of a queue, for its thread.
  func latencies(_ queue: Int) -> LatencyCounts {
    let offset = Self.latencyOffset(queues: queues) + queue * LatencyCounts.bytes
    return LatencyCounts(counts: (memory.base + offset).assumingMemoryBound(to: UInt64.self))
  }

  /// All queues' counters now.
  public var snapshot: [QueueCounters] { (0..<queues).map { counters($0).pointee } }

  /// What is being recorded, for the thread that records; nil when nothing is.
  public func setRecording(_ counts: RecordingCounts?) {
    memory.base.storeBytes(
      of: counts ?? RecordingCounts(since: 0), toByteOffset: Self.recordingOffset, as: RecordingCounts.self)
  }
}

/// What a recording has so far.
public struct RecordingCounts: BitwiseCopyable, Equatable, Sendable, Codable {
  /// When it began, seconds since 1970.
  public var since: Int64
  /// Reads of something new. A trace has more accesses, where a read is in several places.
  public var accesses: UInt64
  /// Bytes of the disk that they are.
  public var bytes: UInt64
  /// Reads of which a part is missing, because they came faster than they could be written down.
  public var lost: UInt64

  /// By its parts.
  public init(since: Int64, accesses: UInt64 = 0, bytes: UInt64 = 0, lost: UInt64 = 0) {
    self.since = since
    self.accesses = accesses
    self.bytes = bytes
    self.lost = lost
  }
}

extension CounterPage {
  /// What a counter file says.
  public struct Reading: Sendable {
    /// Of each queue.
    public var counters: [QueueCounters]
    /// What is being recorded; nil when nothing is.
    public var recording: RecordingCounts?
    /// Of all queues together, by class; without those that a server of an earlier version does not time.
    public var latencies: [LatencyHistogram.Class: LatencyHistogram]
  }

  /// Queues that any device may have.
  private static let queuesMax = 4096

  /// Reads the counters of a device from its file; `EBADMSG` when it is not such a file.
  public static func read(_ path: String) throws(Errno) -> Reading {
    let bytes = try readFile(path, limit: headerBytes + queuesMax * (stride + LatencyCounts.bytes) + page)
    let reading = bytes.withUnsafeBytes { parse($0) }
    guard let reading else { throw Errno(rawValue: EBADMSG) }
    return reading
  }

  private static func parse(_ bytes: UnsafeRawBufferPointer) -> Reading? {
    guard bytes.count >= headerBytes else { return nil }
    let found = bytes.load(as: UInt64.self)
    guard let classes = classes[found], bytes.load(fromByteOffset: 12, as: UInt32.self) == UInt32(stride)
    else { return nil }
    let queues = Int(bytes.load(fromByteOffset: 8, as: UInt32.self))
    guard queues <= (bytes.count - headerBytes) / stride else { return nil }
    let counters = (0..<queues).map { bytes.load(fromByteOffset: headerBytes + $0 * stride, as: QueueCounters.self) }
    var reading = Reading(counters: counters, recording: nil, latencies: [:])
    if classes.isEmpty { return reading }
    let recording = bytes.load(fromByteOffset: recordingOffset, as: RecordingCounts.self)
    if recording.since != 0 { reading.recording = recording }
    let offset = Int(bytes.load(fromByteOffset: 16, as: UInt32.self))
    let latencyBytes = classes.count * LatencyHistogram.bucketCount * 8
    guard offset % page == 0, bytes.load(fromByteOffset: 20, as: UInt32.self) == UInt32(latencyBytes),
      offset <= bytes.count, queues <= (bytes.count - offset) / latencyBytes
    else { return nil }
    for kind in classes {
      var sums = [UInt64](repeating: 0, count: LatencyHistogram.bucketCount)
      for queue in 0..<queues {
        let start = offset + queue * latencyBytes + kind.rawValue * LatencyHistogram.bucketCount * 8
        for bucket in sums.indices { sums[bucket] &+= bytes.load(fromByteOffset: start + bucket * 8, as: UInt64.self) }
      }
      reading.latencies[kind] = LatencyHistogram(counts: sums)
    }
    return reading
  }
}

extension [QueueCounters] {
  /// All queues together; the last failure is one of theirs.
  public var total: QueueCounters {
    var sum = QueueCounters()
    for queue in self {
      if queue.failures > 0 {
        sum.lastKind = queue.lastKind
        sum.lastLayer = queue.lastLayer
        sum.lastOffset = queue.lastOffset
        sum.lastCode = queue.lastCode
      }
      sum.requests &+= queue.requests
      sum.bytes &+= queue.bytes
      sum.errors &+= queue.errors
      sum.failures &+= queue.failures
      sum.writtenBytes &+= queue.writtenBytes
      sum.flushes &+= queue.flushes
    }
    return sum
  }
}
