extension SegmentMap {
  /// The map of one layer more: `layer`, whose number is the next one, lies over what `lower` has, and all of it is clipped
  /// to `virtualSize` bytes. `lower` stays as it is.
  ///
  /// The segments of the layers are not needed any more. But what lower layers say to be zeroes is not told apart from what
  /// none of them maps: ``usage`` does not count it.
  public init(
    over lower: borrowing SegmentMap, adding layer: [Segment], virtualSize: UInt64
  ) throws(LSMTError) {
    let number = lower.usage.count
    let sectors = try Self.sectors(layers: number + 1, virtualSize: virtualSize)
    let top = try Self.clipped(layer, number: number, to: sectors)
    try self.init(
      merged: merged(lower: lower.dataSegments(below: sectors), upper: top), layers: number + 1, sectors: sectors)
  }

  /// What is read from layers, in order, tagged with their numbers.
  private borrowing func dataSegments(below sectors: UInt64) -> [Segment] {
    let view = view
    var result: [Segment] = []
    result.reserveCapacity(segmentCount)
    var start: UInt64 = 0
    for index in 0..<view.count {
      if start >= sectors { break }
      let run = view[index]
      let end = min(run.end, sectors)
      while start < end {
        let length = run.isZeroes ? end - start : min(end - start, Segment.maxLength)
        if !run.isZeroes {
          result.append(
            Segment(offset: start, length: UInt32(length), moffset: run.blobSector(of: start), tag: run.layer))
        }
        start += length
      }
    }
    return result
  }
}
