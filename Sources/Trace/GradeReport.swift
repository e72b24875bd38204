/// How well a trace foretold one start: what was brought for nothing, and what was read that nobody had named.
public struct GradeReport: Equatable, Sendable {
  /// Bytes of a layer's file as stored.
  public struct Part: Equatable, Sendable {
    /// ``TraceLayer/identity``.
    public var layer: String
    /// Bytes of the file.
    public var stored: Range<UInt64>
    /// Microseconds from the start until they were read; 0 for what was not.
    public var microseconds: UInt64

    /// A part by its facts.
    public init(layer: String, stored: Range<UInt64>, microseconds: UInt64 = 0) {
      self.layer = layer
      self.stored = stored
      self.microseconds = microseconds
    }
  }

  /// Brought and never read.
  public var wasted: [Part]
  /// Read and never named.
  public var untraced: [Part]

  /// A report by its parts.
  public init(wasted: [Part] = [], untraced: [Part] = []) {
    self.wasted = wasted
    self.untraced = untraced
  }
}

/// What ``AccessTrace/trimmed(by:wastedIn:)`` did.
public struct Trimming: Equatable, Sendable {
  /// The new trace.
  public let trace: AccessTrace
  /// Bytes, as stored, that it does not name any more.
  public let dropped: UInt64
  /// Bytes, as stored, that it names and the old one did not.
  public let added: UInt64
}

extension AccessTrace {
  /// The trace without what was wasted in at least `minimum` of the reports, and with what was untraced in any of them,
  /// which counts for more.
  ///
  /// A compressed block is dropped when all of it was wasted. What no layer is known for stays, because reports name
  /// layers. What is added has no range of the disk. Parts of layers that the trace does not have are left out.
  ///
  /// - Throws: `tooMany`.
  public func trimmed(by reports: [GradeReport], wastedIn minimum: Int) throws(TraceError) -> Trimming {
    precondition(minimum > 0)
    let before = storedRanges()
    let wasted = layers.map { layer in
      ByteRanges.common(toAtLeast: minimum, of: reports.map { ByteRanges($0.wasted.ranges(of: layer)) })
    }
    var result = self
    result.accesses = accesses.flatMap { access in
      access.layer.map { access.without(wasted[$0], layers) } ?? [access]
    }
    result.accesses += try untraced(reports, result.storedRanges())
    result.sortByTime()
    let after = result.storedRanges()
    func bytes(_ some: [TraceLayer?: ByteRanges], without others: [TraceLayer?: ByteRanges]) -> UInt64 {
      some.reduce(0) { $0 + $1.value.subtracting(others[$1.key] ?? ByteRanges()).byteCount }
    }
    return Trimming(trace: result, dropped: bytes(before, without: after), added: bytes(after, without: before))
  }

  /// What the reports read and no access names, each byte once at its earliest time.
  private func untraced(
    _ reports: [GradeReport], _ named: [TraceLayer?: ByteRanges]
  ) throws(TraceError) -> [TraceAccess] {
    var found = AccessTrace(imageName: "", deviceSize: deviceSize, layers: layers)
    var seen = Set<TraceLayer>()
    for (number, layer) in layers.enumerated() where seen.insert(layer).inserted {
      for part in reports.flatMap(\.untraced) where part.layer == layer.identity {
        let range = part.stored.clamped(to: 0..<layer.size)
        for rest in ByteRanges([range]).subtracting(named[layer] ?? ByteRanges()).ranges {
          try found.append(rest, of: number, at: part.microseconds)
        }
      }
    }
    found.sortByTime()
    found.keepFirstTouches()
    return found.accesses
  }

  /// Adds bytes of a layer's file, in as many accesses as it takes.
  private mutating func append(_ stored: Range<UInt64>, of layer: Int, at time: UInt64) throws(TraceError) {
    var start = stored.lowerBound
    while start < stored.upperBound {
      let end = min(start + 1 << 30, stored.upperBound)
      guard accesses.count < Self.accessesMax else {
        throw .tooMany("accesses", count: UInt64(accesses.count) + 1, limit: Self.accessesMax)
      }
      accesses.append(TraceAccess(microseconds: time, device: 0..<0, layer: layer, stored: start..<end))
      start = end
    }
  }
}

extension [GradeReport.Part] {
  fileprivate func ranges(of layer: TraceLayer) -> [Range<UInt64>] {
    filter { $0.layer == layer.identity }.map(\.stored)
  }
}

extension TraceAccess {
  /// What is left of it without `dropped`, bytes of its layer as stored.
  fileprivate func without(_ dropped: ByteRanges, _ layers: [TraceLayer]) -> [TraceAccess] {
    if dropped.contains(stored) { return [] }
    if isBlock(layers) { return [self] }
    return ByteRanges([stored]).subtracting(dropped).ranges.map { rest in
      part(upTo: rest.upperBound - stored.lowerBound, layers).part(from: rest.lowerBound - stored.lowerBound, layers)
    }
  }
}
