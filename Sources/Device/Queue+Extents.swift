import Glibc
import LSMT
import ZFile

/// From a request's range to reads: the part of the way where extents are started.
extension Queue where Transport: ~Copyable {
  /// Starts as much of a request as the tag's operations and scratch memory allow, and answers it when nothing is
  /// left to do. Called again whenever something of the request ended.
  mutating func start(_ tag: Int) {
    let state = states + tag
    while !state.pointee.hasFailed, let mapping = takeMapping(state) {
      if mapping.isZeroes {
        let count = mapping.sectors << 9
        if !writeZeroes(tag, position: Int(state.pointee.position), count: Int(count)) {
          state.pointee.hasFailed = true
        }
        state.pointee.position &+= UInt32(truncatingIfNeeded: count)
      } else if !startData(tag, mapping) {
        return
      }
    }
    if state.pointee.operations == 0 { answer(tag, bytes: state.pointee.bytes) }
  }

  @inline(__always)
  private func takeMapping(_ state: UnsafeMutablePointer<RequestState>) -> Mapping? {
    if state.pointee.hasRest {
      state.pointee.hasRest = false
      return state.pointee.rest
    }
    return state.pointee.cursor.next(source)
  }

  /// Starts data of one layer. False when the request has to wait for its own operations first.
  @inline(__always)
  private mutating func startData(_ tag: Int, _ mapping: Mapping) -> Bool {
    let layer = source.layers + Int(mapping.layer)
    if let blocks = layer.pointee.blocks { return startBlocks(tag, mapping, layer, blocks) }
    return startRaw(tag, mapping, layer)
  }

  // MARK: Uncompressed

  private mutating func startRaw(_ tag: Int, _ mapping: Mapping, _ layer: UnsafePointer<LayerSource>) -> Bool {
    let state = states + tag
    let count = UInt32(truncatingIfNeeded: mapping.sectors << 9)
    let blobOffset = mapping.blobSector << 9
    var operation = Operation(
      layer: mapping.layer, isCompressed: false, count: count, done: 0,
      fileOffset: layer.pointee.payloadOffset &+ blobOffset, scratch: 0, position: state.pointee.position,
      length: count, blobOffset: blobOffset)
    if layer.pointee.method == .memory {
      state.pointee.position &+= count
      let target = memory.buffer(tag) + Int(operation.position)
      readNow(tag, &operation, into: target)
      if source.dataPath.copiesOut, !state.pointee.hasFailed { copyOut(tag, operation) }
      return true
    }
    if source.dataPath.isUserCopy, layer.pointee.view == nil, copyCached(tag, operation, layer) { return true }
    // What was written lately is in the page cache: no way through the ring.
    if source.isUpper(mapping.layer) {
      operation.done = UInt32(
        truncatingIfNeeded: readCached(operation, layer, into: memory.buffer(tag) + Int(operation.position)))
      if operation.done == count {
        state.pointee.position &+= count
        return true
      }
    }
    guard let index = takeOperation(tag) else {
      putBack(state, mapping)
      return false
    }
    state.pointee.position &+= count
    operations[index] = operation
    submit(index, tag)
    return true
  }

  /// Copies bytes that the page cache has from there into the request. False if it does not have all of them.
  @inline(__always)
  private mutating func copyCached(_ tag: Int, _ operation: Operation, _ layer: UnsafePointer<LayerSource>) -> Bool {
    guard
      let copied = transport.copyCached(
        layer.pointee.file, offset: operation.fileOffset, count: Int(operation.count), toRequest: tag,
        position: Int(operation.position))
    else { return false }
    states[tag].position &+= operation.count
    if copied != Int(operation.count) {
      fail(tag, .read, layer: operation.layer, offset: operation.fileOffset, code: copied)
    }
    return true
  }

  // MARK: Compressed

  /// Reads the compressed blocks that hold a piece of a layer, as many as there is scratch memory for.
  private mutating func startBlocks(
    _ tag: Int, _ mapping: Mapping, _ layer: UnsafePointer<LayerSource>, _ blocks: JumpTable.View
  ) -> Bool {
    let state = states + tag
    let blobOffset = mapping.blobSector << 9
    let wanted = mapping.sectors << 9
    let shift = UInt64(blocks.blockShift)
    let first = Int(truncatingIfNeeded: blobOffset >> shift)
    var last = Int(truncatingIfNeeded: (blobOffset &+ wanted &- 1) >> shift)
    if first == last, wanted < UInt64(blocks.contentLength(ofBlock: first)),
      let cached = blockCache.find(layer: mapping.layer, block: first)
    {
      serveCached(tag, mapping, blocks, cached)
      return true
    }
    var range = blocks.storedRange(ofBlocks: first..<last &+ 1)
    let room = RequestMemory.scratchBytes &- Int(state.pointee.scratchUsed)
    while range.length > room, last > first {
      last = first &+ max(0, (last &- first) >> 1)
      range = blocks.storedRange(ofBlocks: first..<last &+ 1)
    }
    // One block always fits into empty scratch memory, so waiting for the request's own operations helps.
    guard range.length <= room, state.pointee.operations != .max else {
      putBack(state, mapping)
      return false
    }
    let end = min(UInt64(last &+ 1) << shift, blobOffset &+ wanted)
    let length = UInt32(truncatingIfNeeded: end &- blobOffset)
    if end < blobOffset &+ wanted {
      let taken = (end &- blobOffset) >> 9
      putBack(
        state,
        Mapping(
          sectors: mapping.sectors &- taken, blobSector: mapping.blobSector &+ taken, layer: mapping.layer,
          isZeroes: false))
    }
    var operation = Operation(
      layer: mapping.layer, isCompressed: true, count: UInt32(truncatingIfNeeded: range.length), done: 0,
      fileOffset: layer.pointee.payloadOffset &+ range.offset, scratch: state.pointee.scratchUsed,
      position: state.pointee.position, length: length, blobOffset: blobOffset)
    state.pointee.position &+= length
    if layer.pointee.method == .memory {
      readNow(tag, &operation, into: memory.scratch(tag) + Int(operation.scratch))
      if !state.pointee.hasFailed, !decode(tag, operation) {
        fail(tag, .decode, layer: operation.layer, offset: operation.fileOffset, code: 0)
      }
      return true
    }
    if decodeCached(tag, &operation, layer) { return true }
    guard let index = takeOperation(tag) else { return false }
    state.pointee.scratchUsed &+= operation.count
    operations[index] = operation
    submit(index, tag)
    return true
  }

  /// Reads what the page cache has of compressed blocks, without a way through the ring: they are decoded by this thread
  /// in any case. True when that was all, and the blocks are decoded.
  @inline(__always)
  private mutating func decodeCached(
    _ tag: Int, _ operation: inout Operation, _ layer: UnsafePointer<LayerSource>
  ) -> Bool {
    let target = memory.scratch(tag) + Int(operation.scratch)
    if let view = layer.pointee.view {
      guard let lease = view.lease(operation.fileOffset, UInt64(operation.count)), lease.place == .cache,
        readCached(operation, layer, into: target) == Int(operation.count),
        view.holds(lease, operation.fileOffset, UInt64(operation.count))
      else { return false }
      // What is damaged goes the long way, on which it is repaired.
      return decode(tag, operation)
    }
    operation.done = UInt32(truncatingIfNeeded: readCached(operation, layer, into: target))
    if operation.done < operation.count { return false }
    if !decode(tag, operation) { fail(tag, .decode, layer: operation.layer, offset: operation.fileOffset, code: 0) }
    return true
  }

  @inline(__always)
  private mutating func readCached(
    _ operation: Operation, _ layer: UnsafePointer<LayerSource>, into target: UnsafeMutableRawPointer
  ) -> Int {
    transport.readCached(
      layer.pointee.file, offset: operation.fileOffset, into: target, count: Int(operation.count))
  }

  /// Serves a piece of a block that was decoded lately.
  private mutating func serveCached(
    _ tag: Int, _ mapping: Mapping, _ blocks: JumpTable.View, _ block: UnsafeMutableRawPointer
  ) {
    let state = states + tag
    let inside = Int(truncatingIfNeeded: (mapping.blobSector << 9) & (1 << UInt64(blocks.blockShift) &- 1))
    let count = Int(truncatingIfNeeded: mapping.sectors << 9)
    let position = Int(state.pointee.position)
    state.pointee.position &+= UInt32(truncatingIfNeeded: count)
    if source.dataPath.copiesOut {
      let copied = transport.copyNow(block + inside, count: count, toRequest: tag, position: position)
      if copied != count { fail(tag, .copy, layer: mapping.layer, offset: UInt64(position), code: copied) }
    } else {
      (memory.buffer(tag) + position).copyMemory(from: block + inside, byteCount: count)
    }
  }

  // MARK: Small parts

  @inline(__always)
  private func putBack(_ state: UnsafeMutablePointer<RequestState>, _ mapping: Mapping) {
    state.pointee.rest = mapping
    state.pointee.hasRest = true
  }

  /// A free operation of the tag, now in flight; nil when all are.
  @inline(__always)
  private func takeOperation(_ tag: Int) -> Int? {
    let used = states[tag].operations
    if used == .max { return nil }
    let bit = (~used).trailingZeroBitCount
    states[tag].operations = used | 1 << UInt8(truncatingIfNeeded: bit)
    return tag &* RequestState.operationsMax &+ bit
  }

  /// Makes a part of a request zero. False if the kernel refused the copy.
  mutating func writeZeroes(_ tag: Int, position: Int, count: Int) -> Bool {
    if !source.dataPath.copiesOut {
      (memory.buffer(tag) + position).initializeMemory(as: UInt8.self, repeating: 0, count: count)
      return true
    }
    let copied = transport.copyNow(memory.zeroes, count: count, toRequest: tag, position: position)
    if copied == count { return true }
    counters.pointee.fail(.copy, layer: 0, offset: UInt64(position), code: Int32(truncatingIfNeeded: -copied))
    return false
  }

  /// Copies what was put together in the tag's buffer into the request's pages.
  mutating func copyOut(_ tag: Int, _ operation: Operation) {
    let position = Int(operation.position)
    let count = Int(operation.length)
    let copied = transport.copyNow(memory.buffer(tag) + position, count: count, toRequest: tag, position: position)
    if copied != count { fail(tag, .copy, layer: operation.layer, offset: UInt64(position), code: copied) }
  }

  /// Marks a request as failed. `code` is a negative error number, or a count where it came short.
  @inline(never)
  func fail(_ tag: Int, _ kind: QueueCounters.Failure, layer: UInt8, offset: UInt64, code: Int) {
    states[tag].hasFailed = true
    counters.pointee.fail(kind, layer: layer, offset: offset, code: code < 0 ? Int32(truncatingIfNeeded: -code) : 0)
  }
}
