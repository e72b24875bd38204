/// Several runs as one trace.
extension AccessTrace {
  /// Makes each byte be named once, at its first touch. What is recorded and what other programs tell has repeated reads.
  public mutating func keepFirstTouches() { accesses = Touches(self).inOrder() }

  /// The runs of all `traces`, at least one, as one trace: each byte once, with the number of runs that used it.
  ///
  /// Its time is the earliest of all runs, not the median: what is there too early has cost nothing but its place in the
  /// order, and what is there too late is a wait. And so the result is the same in whatever order traces are merged, a few
  /// now and others later.
  ///
  /// - Parameter minRuns: what fewer runs used is left out.
  /// - Throws: `differentStacks`, `tooMany`.
  public static func merging(_ traces: [AccessTrace], minRuns: UInt32 = 1) throws(TraceError) -> AccessTrace {
    var result = traces[0]
    var touches = Touches(result)
    for (number, trace) in traces.enumerated().dropFirst() {
      try result.requireSameStack(as: trace, number: number)
      let (runs, overflow) = result.runs.addingReportingOverflow(trace.runs)
      guard !overflow else {
        throw .tooMany("runs", count: UInt64(result.runs) + UInt64(trace.runs), limit: Int(UInt32.max))
      }
      result.runs = runs
      result.durationMicroseconds = max(result.durationMicroseconds, trace.durationMicroseconds)
      result.recordedAt = max(result.recordedAt, trace.recordedAt)
      touches = touches.merged(with: Touches(trace), .otherRuns)
    }
    result.accesses = touches.inOrder().filter { $0.runs >= minRuns }
    return result
  }

  /// Throws unless `other`, which is trace `number` of several, is of the same disk.
  private func requireSameStack(as other: AccessTrace, number: Int) throws(TraceError) {
    func different(_ found: String, _ expected: String) -> TraceError {
      .differentStacks(number: number, found: found, expected: expected)
    }
    if other.deviceSize != deviceSize {
      throw different("a disk of \(other.deviceSize) bytes", "one of \(deviceSize)")
    }
    if other.layers.count != layers.count {
      throw different("\(other.layers.count) layers", "\(layers.count)")
    }
    for (layer, (found, expected)) in zip(other.layers, layers).enumerated() where found != expected {
      throw different(
        "\(found.identity) of \(found.size) bytes as layer \(layer)", "\(expected.identity) of \(expected.size)")
    }
  }
}
