/// What was read of a disk, in the order of first touch: Warmblk's own trace. <doc:TraceFormat> has its bytes.
///
/// It names layers by their identity and ranges in their files, so that it means something on any stack with these layers.
public struct AccessTrace: Equatable, Sendable {
  /// What the image was called, usually its path; for people.
  public var imageName: String
  /// Bytes of the disk.
  public var deviceSize: UInt64
  /// The stack, bottom first.
  public var layers: [TraceLayer]
  /// How many recorded runs went into it, at least 1.
  public var runs: UInt32
  /// How long was recorded, microseconds; the longest of several runs.
  public var durationMicroseconds: UInt64
  /// When recording began, seconds since 1970; 0 when nobody knows.
  public var recordedAt: Int64
  /// What was read. Microseconds never decrease.
  public var accesses: [TraceAccess]

  /// A trace by its parts. Accesses that are not in the order of their times are sorted; equal times stay in order.
  public init(
    imageName: String, deviceSize: UInt64, layers: [TraceLayer], runs: UInt32 = 1, durationMicroseconds: UInt64 = 0,
    recordedAt: Int64 = 0, accesses: [TraceAccess] = []
  ) {
    self.imageName = imageName
    self.deviceSize = deviceSize
    self.layers = layers
    self.runs = runs
    self.durationMicroseconds = durationMicroseconds
    self.recordedAt = recordedAt
    self.accesses = accesses
    sortByTime()
  }

  /// Puts ``accesses`` into the order of their times; equal times stay in order.
  public mutating func sortByTime() {
    let isSorted = accesses.withUnsafeBufferPointer { accesses in
      var last: UInt64 = 0
      for access in accesses {
        if access.microseconds < last { return false }
        last = access.microseconds
      }
      return true
    }
    // The standard library's sort is stable, though only its implementation says so; the tests hold it to that.
    if !isSorted { accesses.sort { $0.microseconds < $1.microseconds } }
  }
}

extension AccessTrace {
  /// The most accesses of a trace. In memory they are 640 MiB.
  public static let accessesMax = 1 << 24
  /// The most layers.
  public static let layersMax = 4096
  /// The most bytes of an image's name and of a layer's identity.
  public static let textMax = 4096
  /// The most bytes of a file.
  public static let bytesMax = 1 << 30

  /// Finds what a file could not hold.
  ///
  /// - Throws: what ``encoded()`` throws.
  public func validate() throws(TraceError) {
    try checkHeader()
    var time: UInt64 = 0
    for (number, access) in accesses.enumerated() {
      try check(access, number: number, after: time)
      time = access.microseconds
    }
  }

  /// Finds what a file must not say of the whole.
  func checkHeader() throws(TraceError) {
    guard accesses.count <= Self.accessesMax else {
      throw .tooMany("accesses", count: UInt64(accesses.count), limit: Self.accessesMax)
    }
    guard layers.count <= Self.layersMax else {
      throw .tooMany("layers", count: UInt64(layers.count), limit: Self.layersMax)
    }
    guard runs > 0 else { throw .malformed(offset: 40, problem: "it is of 0 runs") }
    guard recordedAt >= 0, durationMicroseconds <= Int64.max else {
      throw .malformed(
        offset: 24,
        problem: "it began \(recordedAt) s after 1970 and took \(durationMicroseconds) µs, which no clock shows")
    }
    for text in [imageName] + layers.map(\.identity) where text.utf8.count > Self.textMax {
      throw .textTooLong(text, limit: Self.textMax)
    }
    // So that offsets can be added without overflow.
    let sizes = [("the disk", deviceSize)] + layers.enumerated().map { ("layer \($0)", $1.size) }
    for (what, size) in sizes where size > Int64.max { throw .invalidSize(of: what, size) }
  }

  /// Finds what a file must not have: what is written is checked by the same rules as what is read.
  func check(_ access: TraceAccess, number: Int, after earlier: UInt64) throws(TraceError) {
    let device = access.device
    let stored = access.stored
    func bad(_ problem: String) -> TraceError { .invalidAccess(number: number, problem: problem) }
    if access.microseconds < earlier { throw bad("is earlier than the one before it") }
    if access.microseconds > Int64.max { throw bad("is later than any clock goes") }
    if access.runs == 0 || access.runs > runs { throw bad("is of \(access.runs) runs, the trace of \(runs)") }
    if device.lowerBound > deviceSize || device.count64 > deviceSize - device.lowerBound {
      throw bad("names \(device.count64) bytes at \(device.lowerBound) of a disk of \(deviceSize) bytes")
    }
    guard let layer = access.layer else {
      if device.isEmpty || !stored.isEmpty { throw bad("names neither disk nor layer") }
      return
    }
    guard layer < layers.count else { throw bad("is of layer \(layer), there are \(layers.count)") }
    let size = layers[layer].size
    if stored.isEmpty || stored.lowerBound > size || stored.count64 > size - stored.lowerBound {
      throw bad("names \(stored.count64) bytes at \(stored.lowerBound) of layer \(layer), which has \(size)")
    }
    if !layers[layer].isCompressed, !device.isEmpty, device.count64 != stored.count64 {
      throw bad("has \(device.count64) bytes on the disk and \(stored.count64) in a layer that is not compressed")
    }
  }
}
