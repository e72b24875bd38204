import Trace

/// A trace that was made of another one or of reads, and what of these is not in it.
public struct MadeTrace: Sendable {
  /// The trace, of the image that made it.
  public var trace: AccessTrace
  /// A sentence for each kind of thing that was left out.
  public var notes: [String] = []
}

/// Traces of an image, made of what others recorded.
extension Image {
  /// A trace of this image without accesses.
  public func emptyTrace() -> AccessTrace {
    AccessTrace(imageName: config.name, deviceSize: virtualSize, layers: traceLayers)
  }

  /// What some reads of the disk touch first, in the order of their times.
  ///
  /// - Throws: `refused` when it is more than a trace can hold.
  public func trace(of reads: [DeviceRead]) throws(ImageError) -> MadeTrace {
    var made = MadeTrace(trace: emptyTrace())
    var beyond = 0
    for read in reads {
      if read.range.upperBound > virtualSize { beyond += 1 }
      try forEachPiece(ofDevice: read.range) { piece throws(ImageError) in
        try made.add(piece.access(at: read.microseconds))
      }
    }
    made.note(beyond, "reads beyond the disk's \(virtualSize) bytes, of which the part within is kept")
    made.finish(duration: reads.map(\.microseconds).max() ?? 0)
    return made
  }

  /// What a trace of overlaybd, recorded on this image, touches first, in its order. It has no times.
  ///
  /// - Throws: `refused` when it is more than a trace can hold.
  public func trace(of overlaybd: OverlaybdTrace) throws(ImageError) -> MadeTrace {
    let map = BlobMap(self)
    var made = MadeTrace(trace: emptyTrace())
    var (others, unknown, beyond) = (0, 0, 0)
    for record in overlaybd.records {
      guard record.operation == .read else {
        others += 1
        continue
      }
      guard record.layer < layers.count else {
        unknown += 1
        continue
      }
      let layer = Int(record.layer)
      let range = record.offset..<record.offset + record.count
      if range.upperBound > layers[layer].blobSize { beyond += 1 }
      for piece in map.pieces(ofLayer: layer, blob: range) { try made.add(piece.access(at: 0)) }
    }
    made.note(others, "records that are not of reads")
    made.note(unknown, "records of layers that the image does not have")
    made.note(beyond, "records beyond their layer's end, of which the part within is kept")
    made.finish(duration: 0)
    return made
  }

  /// A trace of another image, or of this one with other layers around, as one of this image: what is in layers that both
  /// have. Where no layer is known, the range of the disk counts.
  ///
  /// - Throws: `refused` when it is more than a trace can hold.
  public func trace(of other: AccessTrace) throws(ImageError) -> MadeTrace {
    if other.layers == traceLayers, other.deviceSize == virtualSize { return MadeTrace(trace: other) }
    let map = BlobMap(self)
    let numbers = layerNumbers(of: other)
    var made = MadeTrace(trace: emptyTrace())
    made.trace.recordedAt = other.recordedAt
    made.trace.runs = other.runs
    var missing: UInt64 = 0
    for access in other.accesses {
      guard let layer = access.layer else {
        try forEachPiece(ofDevice: access.device) { piece throws(ImageError) in
          try made.add(piece.access(at: access.microseconds, runs: access.runs))
        }
        continue
      }
      guard let number = numbers[layer] else {
        missing += UInt64(access.stored.count)
        continue
      }
      for piece in pieces(of: access, layer: number, map) {
        try made.add(piece.access(at: access.microseconds, runs: access.runs))
      }
    }
    made.note(missing, "stored bytes in layers that the image does not have")
    made.finish(duration: other.durationMicroseconds)
    return made
  }

  /// What `trace`, which must be of this image, as ``trace(of:)`` makes it, is for overlaybd.
  public func overlaybdTrace(of trace: AccessTrace) -> OverlaybdTrace {
    precondition(trace.layers == traceLayers)
    let map = BlobMap(self)
    var records: [OverlaybdTrace.Record] = []
    for access in trace.accesses {
      guard let layer = access.layer else { continue }
      for piece in pieces(of: access, layer: layer, map) { records.append(piece) }
    }
    return OverlaybdTrace(records: records)
  }

  /// For each layer of `trace` the number of the same layer here; nil where there is none. One that is in the stack several
  /// times is found in order.
  public func layerNumbers(of trace: AccessTrace) -> [Int?] {
    var free: [TraceLayer: [Int]] = [:]
    for (number, layer) in traceLayers.enumerated().reversed() { free[layer, default: []].append(number) }
    return trace.layers.map { layer in
      guard let numbers = free[layer] else { return nil }
      if numbers.count > 1 { free[layer]?.removeLast() }
      return numbers.last
    }
  }

  /// What an access of layer `number` needs. The range of the disk is exact, if this disk has the layer's bytes there;
  /// otherwise it is whole blocks of the layer.
  private func pieces(of access: TraceAccess, layer number: Int, _ map: BlobMap) -> [RangePiece] {
    let exact = pieces(ofDevice: access.device)
    let isHere = exact.allSatisfy {
      $0.layer == number && access.stored.clamped(to: $0.stored) == $0.stored
    }
    let size = exact.reduce(0) { $0 + $1.device.count }
    if isHere, !exact.isEmpty, size == access.device.count { return exact }
    return map.pieces(ofLayer: number, stored: access.stored)
  }
}

extension MadeTrace {
  fileprivate mutating func note(_ count: some BinaryInteger, _ what: String) {
    if count > 0 { notes.append("left out: \(what): \(count)") }
  }

  fileprivate mutating func add(_ access: TraceAccess) throws(ImageError) {
    if trace.accesses.count == AccessTrace.accessesMax {
      // What was read again goes; the rest must leave room, or this would be done for every few accesses.
      trace.sortByTime()
      trace.keepFirstTouches()
      guard trace.accesses.count <= AccessTrace.accessesMax / 2 else {
        throw .refused(
          "\(trace.imageName): the ranges are in more than \(AccessTrace.accessesMax / 2) blocks, which is too much for a "
            + "trace; give fewer or shorter ones")
      }
    }
    trace.accesses.append(access)
  }

  fileprivate mutating func finish(duration: UInt64) {
    trace.durationMicroseconds = duration
    trace.sortByTime()
    trace.keepFirstTouches()
  }
}

extension [OverlaybdTrace.Record] {
  /// Adds what is read of a layer; a part of the last record if it goes on there.
  fileprivate mutating func append(_ piece: RangePiece) {
    let count = UInt64(piece.blob.count)
    if let last, last.layer == piece.layer, last.offset + last.count == piece.blob.lowerBound,
      last.count + count <= OverlaybdTrace.countMax
    {
      self[self.count - 1] = .init(layer: last.layer, offset: last.offset, count: last.count + count)
    } else {
      append(.init(layer: UInt32(piece.layer), offset: piece.blob.lowerBound, count: count))
    }
  }
}
