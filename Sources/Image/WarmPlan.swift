import BlobStore
import Trace

/// What has to be fetched so that what some traces name is on this machine: ranges of the files of remote layers, in the
/// order in which they are due. Made before anything is fetched.
public struct WarmPlan: Sendable {
  /// One ranged GET, at most; less where some of it is here.
  public struct Request: Sendable, Equatable {
    /// Index into ``Image/layers``.
    public let layer: Int
    /// Bytes of the layer's file.
    public let range: Range<UInt64>
    /// When the first of it was touched, microseconds from the start of the recording.
    public let microseconds: UInt64
  }

  /// In the order of their times.
  public private(set) var requests: [Request] = []
  /// Ranges that the traces name and this image has, each counted once.
  public private(set) var ranges = 0
  /// Bytes of remote layers, as stored, that these are.
  public private(set) var remoteBytes: UInt64 = 0
  /// Bytes of layers that are files of this machine: they need not come.
  public private(set) var localBytes: UInt64 = 0
  /// What of the disk the traces name, for its page cache: whole pages, each once, in the order of first touch. Empty
  /// unless it was asked for.
  public private(set) var deviceRanges: [Range<UInt64>] = []
  /// Bytes of these.
  public private(set) var deviceBytes: UInt64 = 0

  /// Bytes between two ranges that are fetched with them, because a request of their own costs as much: its head, its
  /// answer's head, and the work on both sides. `scripts/bench remote`, reads that need 14.0 MB: with 0 it is 994 requests
  /// and 15.1 MB, with 4 KiB 877 and 15.3, with 16 KiB 595 and 18.4.
  static let gapMax: UInt64 = 4 << 10
  /// Bytes of a request at the most, so that one that is due early does not wait for much that is due late.
  static let requestMax: UInt64 = 1 << 20
  /// What is rounded to: what the store has or has not.
  static let unit = BlobStore.residencyBytes

  /// The plan for `traces`, which are of `image`. `includesDevice`: also of what of the disk they name.
  public init(_ traces: [AccessTrace], for image: Image, includesDevice: Bool = false) {
    if includesDevice {
      deviceRanges = Self.deviceRanges(traces, deviceSize: image.virtualSize)
      deviceBytes = deviceRanges.reduce(0) { $0 + UInt64($1.count) }
    }
    var parts = image.layers.map { LayerParts(size: $0.blob.fileSize, isRemote: $0.blob.remote != nil) }
    if let only = traces.first, traces.count == 1 {
      for access in only.accesses { add(access, image, &parts) }
    } else {
      // A trace is in the order of its times; several together are not.
      let accesses = traces.flatMap(\.accesses).sorted { $0.microseconds < $1.microseconds }
      for access in accesses { add(access, image, &parts) }
    }
    for part in parts where part.isRemote { remoteBytes += part.byteCount }
    for part in parts where !part.isRemote { localBytes += part.byteCount }
    requests = parts.enumerated().flatMap { $1.isRemote ? $1.requests(layer: $0) : [] }
    requests.sort {
      ($0.microseconds, $0.layer, $0.range.lowerBound) < ($1.microseconds, $1.layer, $1.range.lowerBound)
    }
  }

  private mutating func add(_ access: TraceAccess, _ image: Image, _ parts: inout [LayerParts]) {
    guard let layer = access.layer else {
      image.forEachPiece(ofDevice: access.device) { add($0.access(at: access.microseconds), image, &parts) }
      return
    }
    if parts[layer].add(access.stored, access.microseconds) { ranges += 1 }
  }
}

/// What is wanted of one layer.
private struct LayerParts {
  let size: UInt64
  let isRemote: Bool
  /// Units that are wanted, a bit each, so that what is named again costs nothing.
  private var bits: [UInt64]
  /// Runs of units, each unit once, with the time of the first touch.
  private var runs: [(units: Range<Int>, microseconds: UInt64)] = []
  private(set) var byteCount: UInt64 = 0

  init(size: UInt64, isRemote: Bool) {
    self.size = size
    self.isRemote = isRemote
    bits = Array(repeating: 0, count: Int((size / WarmPlan.unit + 64) / 64))
  }

  /// Adds a range of the file; false when all of its units were there.
  mutating func add(_ range: Range<UInt64>, _ microseconds: UInt64) -> Bool {
    let part = range.clamped(to: 0..<size)
    if part.isEmpty { return false }
    var isNew = false
    for unit in Int(part.lowerBound / WarmPlan.unit)...Int((part.upperBound - 1) / WarmPlan.unit)
    where bits[unit >> 6] >> UInt64(unit & 63) & 1 == 0 {
      bits[unit >> 6] |= 1 << UInt64(unit & 63)
      byteCount += min(WarmPlan.unit, size - UInt64(unit) * WarmPlan.unit)
      if isNew, let last = runs.last, last.units.upperBound == unit {
        runs[runs.count - 1].units = last.units.lowerBound..<unit + 1
      } else {
        runs.append((unit..<unit + 1, microseconds))
      }
      isNew = true
    }
    return isNew
  }

  /// Neighbours together, those with a small gap between them too.
  func requests(layer: Int) -> [WarmPlan.Request] {
    var requests: [WarmPlan.Request] = []
    for run in runs.sorted(by: { $0.units.lowerBound < $1.units.lowerBound }) {
      let start = UInt64(run.units.lowerBound) * WarmPlan.unit
      let range = start..<min(size, UInt64(run.units.upperBound) * WarmPlan.unit)
      if let last = requests.last, range.lowerBound - last.range.upperBound <= WarmPlan.gapMax,
        range.upperBound - last.range.lowerBound <= WarmPlan.requestMax
      {
        requests[requests.count - 1] = WarmPlan.Request(
          layer: layer, range: last.range.lowerBound..<range.upperBound,
          microseconds: min(last.microseconds, run.microseconds))
      } else {
        requests += pieces(range).map { WarmPlan.Request(layer: layer, range: $0, microseconds: run.microseconds) }
      }
    }
    return requests
  }

  private func pieces(_ range: Range<UInt64>) -> [Range<UInt64>] {
    stride(from: range.lowerBound, to: range.upperBound, by: Int(WarmPlan.requestMax)).map {
      $0..<min(range.upperBound, $0 + WarmPlan.requestMax)
    }
  }
}
