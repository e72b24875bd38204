extension UpperIndex {
  /// All that is mapped: sorted and disjoint, pieces that can be read as one joined, each at most ``Segment/maxLength``
  /// sectors, tags 0. What an ``IndexLog`` with the same entries replays to, but for how it is cut. Zeroes have the first
  /// data sector as their moffset, which every reader accepts.
  ///
  /// For the writer: no insert may run meanwhile.
  public func segments() -> [Segment] {
    var result: [Segment] = []
    result.reserveCapacity(segmentCount)
    var joined: (start: UInt64, end: UInt64, value: UpperValue) = (0, 0, .unmapped)
    forEachPiece { start, end, value in
      if value == joined.value, start == joined.end {
        joined.end = end
      } else {
        Self.append(joined.start, joined.end, joined.value, to: &result)
        joined = (start, end, value)
      }
    }
    Self.append(joined.start, joined.end, joined.value, to: &result)
    return result
  }

  /// Calls `body` with all runs of sectors of the data file that are mapped, in the order of the device, cut where regions
  /// end. Writers may go on meanwhile: a run whose entry is inserted after the call began may be missing, and one that
  /// was replaced since may be there; each is as it was at some moment of the call.
  ///
  /// Holds the lock of a region while its runs are named, so `body` must be quick.
  public func forEachDataRun(_ body: (_ blobSector: UInt64, _ sectors: UInt64) -> Void) {
    table.forEachTouchedRegion { number, region in
      let state = region.pointee.lock()
      defer { region.pointee.unlock(state) }
      forEachPiece(number, region.pointee.content, state) { start, end, value in
        if value.isData { body(value.blobSector(of: start), end - start) }
      }
    }
  }

  private static func append(_ start: UInt64, _ end: UInt64, _ value: UpperValue, to result: inout [Segment]) {
    guard value.isMapped else { return }
    var start = start
    while start < end {
      let length = min(end - start, Segment.maxLength)
      result.append(
        Segment(
          offset: start, length: UInt32(length),
          moffset: value.isData ? value.blobSector(of: start) : LayerWriter.firstDataSector, isZeroed: !value.isData))
      start += length
    }
  }

  /// Calls `body` with all pieces of regions that were ever written to, in order: from, to, what.
  private func forEachPiece(_ body: (UInt64, UInt64, UpperValue) -> Void) {
    table.forEachTouchedRegion { number, region in
      forEachPiece(number, region.pointee.content, region.pointee.peek, body)
    }
  }

  /// The same for one region.
  private func forEachPiece(
    _ number: UInt64, _ content: UInt64, _ state: UpperRegion.State, _ body: (UInt64, UInt64, UpperValue) -> Void
  ) {
    let base = number << table.regionShift
    if state.capacity == 0 { return body(base, base + table.regionSectors, UpperValue(rawValue: content)) }
    let block = UpperBlock(address: content, capacity: state.capacity)
    for index in 0..<state.count {
      body(base + UInt64(block.starts[index]), base + UInt64(block.starts[index + 1]), block.values[index])
    }
  }
}
