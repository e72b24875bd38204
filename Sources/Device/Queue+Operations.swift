import Glibc
import LSMT
import ZFile

/// Reads in flight: the part of the way where bytes arrive and are decoded.
extension Queue where Transport: ~Copyable {
  /// Starts an operation's read, or the rest of it.
  mutating func submit(_ index: Int, _ tag: Int) {
    let layer = source.layers + Int(operations[index].layer)
    if let view = layer.pointee.view {
      guard let place = admit(index, layer, view) else { return }
      return read(index, tag, place)
    }
    read(index, tag, layer.pointee.file)
  }

  @inline(__always)
  private mutating func read(_ index: Int, _ tag: Int, _ file: LayerFile) {
    let operation = operations[index]
    let offset = operation.fileOffset &+ UInt64(operation.done)
    let count = operation.count &- operation.done
    if source.dataPath.isZeroCopy, !operation.isCompressed {
      transport.read(
        file, offset: offset, intoRequest: tag, position: operation.position &+ operation.done, count: count,
        operation: UInt32(truncatingIfNeeded: index))
      return
    }
    let target =
      operation.isCompressed
      ? memory.scratch(tag) + Int(operation.scratch) : memory.buffer(tag) + Int(operation.position)
    transport.read(
      file, offset: offset, into: target + Int(operation.done), count: count,
      operation: UInt32(truncatingIfNeeded: index))
  }

  /// A read ended: the next part of it, or decoding and what is left of its request.
  mutating func finishOperation(_ index: Int, result: Int32) {
    let tag = index / RequestState.operationsMax
    let bit = UInt8(1) << UInt8(truncatingIfNeeded: index % RequestState.operationsMax)
    if states[tag].operations & bit == 0 { reopen(tag) }
    let operation = operations + index
    if result > 0 { operation.pointee.done &+= UInt32(bitPattern: result) }
    if result > 0 || result == -EINTR || result == -EAGAIN, operation.pointee.done < operation.pointee.count {
      return submit(index, tag)
    }
    if readsAgain(index, tag) { return }
    if operation.pointee.done < operation.pointee.count {
      fail(
        tag, .read, layer: operation.pointee.layer,
        offset: operation.pointee.fileOffset &+ UInt64(operation.pointee.done), code: Int(result))
    } else if !states[tag].hasFailed {
      if operation.pointee.isCompressed {
        if !decode(tag, operation.pointee) {
          if repairs(index) { return }
          fail(tag, .decode, layer: operation.pointee.layer, offset: operation.pointee.fileOffset, code: 0)
        }
      } else if source.dataPath.isUserCopy {
        copyOut(tag, operation.pointee)
      }
    }
    finish(bit, tag)
  }

  /// An operation is over, however it ended.
  mutating func finish(_ bit: UInt8, _ tag: Int) {
    states[tag].operations &= ~bit
    if states[tag].operations == 0 { states[tag].scratchUsed = 0 }
    start(tag)
  }

  /// Reads a file that is in memory, in full or not at all.
  mutating func readNow(_ tag: Int, _ operation: inout Operation, into target: UnsafeMutableRawPointer) {
    let file = source.layers[Int(operation.layer)].file
    while operation.done < operation.count {
      let offset = operation.fileOffset &+ UInt64(operation.done)
      let result = transport.readNow(
        file, offset: offset, into: target + Int(operation.done), count: Int(operation.count &- operation.done))
      if result <= 0 { return fail(tag, .read, layer: operation.layer, offset: offset, code: result) }
      operation.done &+= UInt32(truncatingIfNeeded: result)
    }
  }

  /// Decodes the blocks of an operation into the request; false when one is damaged.
  mutating func decode(_ tag: Int, _ operation: Operation) -> Bool {
    guard let blocks = source.layers[Int(operation.layer)].blocks else { return true }
    let shift = UInt64(blocks.blockShift)
    let scratch = memory.scratch(tag) + Int(operation.scratch)
    let end = operation.blobOffset &+ UInt64(operation.length)
    var block = Int(truncatingIfNeeded: operation.blobOffset >> shift)
    var stored = 0
    var offset = operation.blobOffset
    var target = memory.buffer(tag) + Int(operation.position)
    while offset < end {
      let length = blocks.storedRange(ofBlocks: block..<block &+ 1).length
      let source = UnsafeRawBufferPointer(start: scratch + stored, count: length)
      let content = blocks.contentLength(ofBlock: block)
      let blockStart = UInt64(block) << shift
      let taken = min(end, blockStart &+ UInt64(content)) &- offset
      // A whole block goes where it belongs; of a part, the rest of the block is kept for the next reader.
      let isWhole = offset == blockStart && taken == UInt64(content)
      let place = isWhole ? target : blockCache.replace(layer: operation.layer, block: block)
      do throws(ZFileError) {
        try decoder.decode(
          stored: source, into: UnsafeMutableRawBufferPointer(start: place, count: content),
          compression: blocks.compression, hasChecksum: blocks.hasChecksums)
      } catch {
        if !isWhole { blockCache.forgetLast() }
        return false
      }
      if !isWhole {
        target.copyMemory(from: place + Int(offset &- blockStart), byteCount: Int(taken))
      }
      target += Int(taken)
      offset &+= taken
      stored &+= length
      block &+= 1
    }
    if self.source.dataPath.copiesOut { copyOut(tag, operation) }
    return true
  }
}
