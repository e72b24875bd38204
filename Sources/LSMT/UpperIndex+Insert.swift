import Synchronization

extension UpperIndex {
  /// Maps what an entry says; what was mapped there before is not any more. Entries that are padding or have no length
  /// change nothing, and what lies beyond the device is not mapped.
  ///
  /// One writer at a time, which the caller sees to. Calls `freed`, before it returns and without any lock of a region, with
  /// each run of sectors of the data file that an entry mapped and no longer does: what the new one maps to the same place is
  /// not among them, nor what is zeroes or was not mapped. A run that two parts of the device are mapped to, which no
  /// writer does, is named each time one of them goes. When a log is replayed from its middle on, sectors that are named may be
  /// mapped by a later entry again.
  public func insert(_ segment: Segment, freed: (_ blobSector: UInt64, _ sectors: UInt64) -> Void) {
    if segment.length == 0 || segment.isPadding { return }
    let value = UpperValue(segment)
    let device = deviceSectors
    let end = min(segment.end, device)
    if segment.end > device, value.isData {
      let beyond = max(segment.offset, device)
      freed(value.blobSector(of: beyond), segment.end - beyond)
    }
    var sector = segment.offset
    while sector < end {
      let number = sector >> table.regionShift
      let base = number << table.regionShift
      let stop = min(end, base + table.regionSectors)
      insert(
        value, number, base, UInt32(truncatingIfNeeded: sector - base), UInt32(truncatingIfNeeded: stop - base), freed)
      #if WARMBLK_CHECKS
        checkRegion(number)
      #endif
      sector = stop
    }
  }

  /// Maps sectors `start..<end` of region `number`, which begins at sector `base`.
  private func insert(
    _ value: UpperValue, _ number: UInt64, _ base: UInt64, _ start: UInt32, _ end: UInt32,
    _ freed: (UInt64, UInt64) -> Void
  ) {
    let region = table.regions + Int(number)
    let state = region.pointee.peek
    if state.isUntouched { table.touch(number) }
    guard state.capacity > 0 else { return insert(value, region, state, base, start, end, freed) }
    let block = UpperBlock(address: region.pointee.content, capacity: state.capacity)
    let first = block.index(of: start, count: state.count)
    var last = first
    var replacedData: UInt64 = 0
    var position = start
    while true {
      let stop = min(block.starts[last + 1], end)
      replacedData &+= release(block.values[last], value, base, position, stop, freed)
      position = stop
      if stop == end { break }
      last &+= 1
    }
    if first == last, block.values[first] == value { return }

    let tail = block.values[last]
    let hasTail = block.starts[last + 1] > end
    var change = UpperChange(
      low: block.starts[first] < start ? first + 1 : first, high: last + 1, start: start, end: end, value: value,
      tail: tail)
    let joinsBefore = change.low > 0 && block.values[change.low - 1] == value
    change.addsValue = !joinsBefore
    change.addsTail = hasTail && tail != value
    if !hasTail, change.high < state.count, block.values[change.high] == value { change.high += 1 }

    var mapped = 0
    for index in change.low..<change.high where block.values[index].isMapped { mapped &-= 1 }
    if change.addsValue { mapped &+= 1 }
    if change.addsTail, tail.isMapped { mapped &+= 1 }
    count(pieces: mapped)
    count(data: (value.isData ? UInt64(end - start) : 0) &- replacedData)
    apply(change, to: region, block, state)
  }

  /// The same in a region that is all of one kind.
  private func insert(
    _ value: UpperValue, _ region: UnsafeMutablePointer<UpperRegion>, _ state: UpperRegion.State, _ base: UInt64,
    _ start: UInt32, _ end: UInt32, _ freed: (UInt64, UInt64) -> Void
  ) {
    let old = UpperValue(rawValue: region.pointee.content)
    let replacedData = release(old, value, base, start, end, freed)
    if old == value { return }
    count(data: (value.isData ? UInt64(end - start) : 0) &- replacedData)
    let size = UInt32(truncatingIfNeeded: table.regionSectors)
    if start == 0, end == size {
      if !old.isMapped { count(pieces: 1) }
      replace(region, state, content: value.rawValue, UpperRegion.State(count: 1, capacity: 0))
      return
    }
    let capacity = UpperBlock.capacity(for: 3, current: 0)
    let block = UpperBlock.allocate(capacity: capacity)
    var pieces = 0
    func append(_ start: UInt32, _ value: UpperValue) {
      block.starts[pieces] = start
      block.values[pieces] = value
      pieces += 1
    }
    if start > 0 { append(0, old) }
    append(start, value)
    if end < size { append(end, old) }
    block.starts[pieces] = size
    count(pieces: old.isMapped ? pieces - 1 : 1)
    replace(region, state, content: block.address, UpperRegion.State(count: pieces, capacity: capacity))
  }

  /// Names what `new` makes free of sectors `start..<end` that are `old`, and returns how many of them were data.
  @inline(__always)
  private func release(
    _ old: UpperValue, _ new: UpperValue, _ base: UInt64, _ start: UInt32, _ end: UInt32,
    _ freed: (UInt64, UInt64) -> Void
  ) -> UInt64 {
    guard old.isData else { return 0 }
    let sectors = UInt64(end &- start)
    if old != new { freed(old.blobSector(of: base &+ UInt64(start)), sectors) }
    return sectors
  }

  /// Changes a block, in place if it has the right size.
  private func apply(
    _ change: UpperChange, to region: UnsafeMutablePointer<UpperRegion>, _ block: UpperBlock, _ state: UpperRegion.State
  ) {
    let count = state.count &+ change.growth
    if count == 1 {
      // What is left is one piece: the new one, or the one before it that it joined.
      replace(region, state, content: change.value.rawValue, UpperRegion.State(count: 1, capacity: 0))
      return
    }
    let capacity = UpperBlock.capacity(for: count, current: state.capacity)
    if capacity == state.capacity {
      _ = region.pointee.lock()
      change.move(block, count: state.count, to: block)
      region.pointee.unlock(UpperRegion.State(count: count, capacity: capacity))
      return
    }
    // Readers wait for the pointer only.
    let new = UpperBlock.allocate(capacity: capacity)
    new.starts.update(from: block.starts, count: change.low)
    new.values.update(from: block.values, count: change.low)
    change.move(block, count: state.count, to: new)
    replace(region, state, content: new.address, UpperRegion.State(count: count, capacity: capacity))
  }

  /// Gives a region another content and frees its block.
  private func replace(
    _ region: UnsafeMutablePointer<UpperRegion>, _ old: UpperRegion.State, content: UInt64, _ new: UpperRegion.State
  ) {
    let oldContent = region.pointee.content
    _ = region.pointee.lock()
    region.pointee.content = content
    region.pointee.unlock(new)
    if new.capacity > 0 { count(bytes: UpperBlock.byteCount(capacity: new.capacity)) }
    if old.capacity > 0 {
      UpperBlock(address: oldContent, capacity: old.capacity).deallocate()
      count(bytes: -UpperBlock.byteCount(capacity: old.capacity))
    }
  }
}

/// How a block changes: pieces `low..<high` go, and up to two come in their place.
private struct UpperChange {
  let low: Int
  var high: Int
  let start: UInt32
  let end: UInt32
  let value: UpperValue
  /// What follows at `end`: the rest of a piece that was cut.
  let tail: UpperValue
  var addsValue = false
  var addsTail = false

  init(low: Int, high: Int, start: UInt32, end: UInt32, value: UpperValue, tail: UpperValue) {
    self.low = low
    self.high = high
    self.start = start
    self.end = end
    self.value = value
    self.tail = tail
  }

  private var added: Int { (addsValue ? 1 : 0) &+ (addsTail ? 1 : 0) }
  /// Pieces that there are more.
  var growth: Int { added &- (high &- low) }

  /// Writes what comes from piece `low` on to `output`, which may be the block itself, and the start behind the last.
  func move(_ block: UpperBlock, count: Int, to output: UpperBlock) {
    var index = low &+ added
    if output.values != block.values || index != high {
      (output.starts + index).update(from: block.starts + high, count: count &- high &+ 1)
      (output.values + index).update(from: block.values + high, count: count &- high)
    }
    index = low
    if addsValue {
      output.starts[index] = start
      output.values[index] = value
      index &+= 1
    }
    if addsTail {
      output.starts[index] = end
      output.values[index] = tail
    }
  }
}
