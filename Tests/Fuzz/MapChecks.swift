import LSMT

/// Merges `layers` and checks that lookups find what is in the merged index, at the edges of every run.
func checkMap(_ layers: [[Segment]], virtualSize: UInt64) throws(LSMTError) {
  let map = try SegmentMap(layers: layers, virtualSize: virtualSize)
  let sectors = (virtualSize + UInt64(sectorSize) - 1) / UInt64(sectorSize)
  let view = map.view
  require(view.count >= 1 && view.count <= 2 * map.segmentCount + 1, "\(view.count) runs")
  var start: UInt64 = 0
  for index in 0..<view.count {
    let run = view[index]
    let isLast = index == view.count - 1
    require(run.end > start, "\(run) ends before it begins, at \(start)")
    require(isLast ? run.end == .max && run.isZeroes : run.end <= sectors, "\(run) ends beyond \(sectors) sectors")
    require(Int(run.layer) < max(1, layers.count), "\(run) is of a layer that there is not")
    for sector in [start, run.end - 1] {
      require(view.index(of: sector) == index, "sector \(sector) is not found in \(run)")
    }
    let known = isLast ? 1 : run.end - start
    checkMappings(view, from: start > 0 ? start - 1 : 0, count: known + 2)
    start = run.end
  }
  checkMappings(view, from: 0, count: sectors)
  require(
    map.usage.reduce(0) { $0 + $1.segmentCount } == map.segmentCount, "the layers' segments are not all segments")
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
