import LSMT

/// Merges `layers` and checks that lookups find what is in the merged index, at the edges of every segment.
func checkMap(_ layers: [[Segment]], virtualSize: UInt64) throws(LSMTError) {
  let map = try SegmentMap(layers: layers, virtualSize: virtualSize)
  let sectors = (virtualSize + UInt64(sectorSize) - 1) / UInt64(sectorSize)
  let view = map.view
  var previousEnd: UInt64 = 0
  for index in 0..<map.count {
    let segment = view[index]
    require(segment.length > 0 && segment.offset >= previousEnd, "\(segment) overlaps the one before it")
    require(segment.end <= sectors, "\(segment) ends beyond the device's \(sectors) sectors")
    require(Int(segment.tag) < layers.count, "\(segment) is of a layer that there is not")
    for sector in [segment.offset, segment.end - 1] {
      require(view.firstIndex(endingAfter: sector) == index, "sector \(sector) is not found in \(segment)")
    }
    checkMappings(view, from: segment.offset > 0 ? segment.offset - 1 : 0, count: UInt64(segment.length) + 2)
    previousEnd = segment.end
  }
  checkMappings(view, from: 0, count: sectors)
  let usage = map.usage()
  require(usage.reduce(0) { $0 + $1.segmentCount } == map.count, "the layers' segments are not all segments")
}

/// The mappings of a range have no gaps and nothing too much.
private func checkMappings(_ view: SegmentMap.View, from start: UInt64, count: UInt64) {
  let end = min(start + count, Segment.maxOffset)
  var cursor = view.mappings(from: start, count: count)
  var position = start
  while let mapping = cursor.next() {
    require(mapping.sectors > 0, "a mapping of no sectors at \(position)")
    position += mapping.sectors
  }
  require(position == max(start, end), "the mappings of \(start)..<\(end) end at \(position)")
}
