import Trace

/// What `trace show --json` prints; bytes are as stored where nothing else is said.
struct TraceSummary: Encodable {
  struct Layer: Encodable {
    let identity: String?
    let size: UInt64?
    let isCompressed: Bool?
    let accesses: Int
    let bytes: UInt64
  }

  struct Slice: Encodable {
    let fromMicroseconds: UInt64
    let toMicroseconds: UInt64
    let bytes: UInt64
  }

  let image: String
  let deviceSize: UInt64
  let runs: UInt32
  let recordedAt: Int64
  let durationMicroseconds: UInt64
  let accesses: Int
  let bytes: UInt64
  let deviceBytes: UInt64
  let halfMicroseconds: UInt64
  let mostlyMicroseconds: UInt64
  let allMicroseconds: UInt64
  let layers: [Layer]
  let slices: [Slice]

  init(_ trace: AccessTrace, _ totals: TraceTotals) {
    image = trace.imageName
    deviceSize = trace.deviceSize
    runs = trace.runs
    recordedAt = trace.recordedAt
    durationMicroseconds = trace.durationMicroseconds
    accesses = trace.accesses.count
    bytes = totals.bytes
    deviceBytes = totals.deviceBytes
    halfMicroseconds = totals.half
    mostlyMicroseconds = totals.mostly
    allMicroseconds = totals.all
    layers = totals.layers.map {
      Layer(
        identity: $0.layer?.identity, size: $0.layer?.size, isCompressed: $0.layer?.isCompressed,
        accesses: $0.accesses, bytes: $0.bytes)
    }
    slices = totals.slices.map {
      Slice(
        fromMicroseconds: $0.microseconds.lowerBound, toMicroseconds: $0.microseconds.upperBound, bytes: $0.bytes)
    }
  }
}
