/// What a trace amounts to, in bytes as stored, each counted once; of the disk for what no layer is known for.
public struct TraceTotals: Equatable, Sendable {
  /// A layer's share.
  public struct LayerShare: Equatable, Sendable {
    /// The layer; nil for ranges of the disk that no layer is known for.
    public let layer: TraceLayer?
    /// Accesses, as the trace has them.
    public internal(set) var accesses = 0
    /// Bytes that are named.
    public internal(set) var bytes: UInt64 = 0
  }

  /// A slice of time's share.
  public struct TimeShare: Equatable, Sendable {
    /// When it begins and ends, microseconds.
    public let microseconds: Range<UInt64>
    /// Bytes that are touched first in it.
    public internal(set) var bytes: UInt64 = 0
  }

  /// Bytes that are named.
  public private(set) var bytes: UInt64 = 0
  /// Bytes of the disk that are named; what only layers have is not among them.
  public private(set) var deviceBytes: UInt64 = 0
  /// The stack, bottom first, then what no layer is known for if there is any.
  public private(set) var layers: [LayerShare] = []
  /// Slices of equal length until the last first touch; one if there are no times.
  public private(set) var slices: [TimeShare] = []
  /// Microseconds until half, 90 % and all of the bytes had been touched.
  public private(set) var half: UInt64 = 0, mostly: UInt64 = 0, all: UInt64 = 0

  /// Counts. The time until the last first touch is cut into `slices`.
  public init(_ trace: AccessTrace, slices count: Int = 10) {
    layers = (trace.layers + [nil]).map { LayerShare(layer: $0) }
    for access in trace.accesses { layers[access.layer ?? trace.layers.count].accesses += 1 }
    deviceBytes = ByteRanges(trace.accesses.map(\.device)).byteCount
    let touches = trace.storedTouches()
    let last = touches.last?.microseconds ?? 0
    let slice = last / UInt64(count) + 1
    slices = stride(from: 0, through: last, by: UInt64.Stride(slice)).map { TimeShare(microseconds: $0..<$0 + slice) }
    for touch in touches {
      let size = touch.layer == nil ? touch.device.count64 : touch.stored.count64
      bytes += size
      layers[touch.layer ?? trace.layers.count].bytes += size
      slices[Int(touch.microseconds / slice)].bytes += size
    }
    if layers.last?.accesses == 0 { layers.removeLast() }
    setMilestones(touches)
  }

  private mutating func setMilestones(_ touches: [TraceAccess]) {
    var reached: UInt64 = 0
    for touch in touches {
      if reached < bytes / 2 + bytes % 2 { half = touch.microseconds }
      if reached < bytes - bytes / 10 { mostly = touch.microseconds }
      if reached < bytes { all = touch.microseconds }
      reached += touch.layer == nil ? touch.device.count64 : touch.stored.count64
    }
  }
}

extension AccessTrace {
  /// Each stored byte once, at its first touch; where no layer is known, each byte of the disk.
  func storedTouches() -> [TraceAccess] {
    var stored = self
    stored.accesses = accesses.map { access in
      guard let layer = access.layer else { return access }
      return TraceAccess(
        microseconds: access.microseconds, device: 0..<0, layer: layer, stored: access.stored, runs: access.runs)
    }
    stored.keepFirstTouches()
    return stored.accesses
  }
}
