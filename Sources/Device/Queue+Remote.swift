import BlobStore
import Glibc

/// Layers of a registry: the part of the way where bytes may have to be brought first.
///
///     submit ─ admit ─┬─ here, under a lease ─▶ read ─ finishOperation ─ does the lease hold? is it whole? ─▶ done
///                     └─ want ─ finishFetch ─▶ submit again
extension Queue where Transport: ~Copyable {
  /// The file from which an operation can be read now. If its bytes are not here they are asked for: nil, and the
  /// operation goes on when they came.
  @inline(__always)
  mutating func admit(_ index: Int, _ layer: UnsafePointer<LayerSource>, _ view: BlobView) -> LayerFile? {
    let operation = operations + index
    if operation.pointee.done == 0 {
      operation.pointee.lease = view.lease(operation.pointee.fileOffset, UInt64(operation.pointee.count))
    }
    guard let lease = operation.pointee.lease else {
      want(index, damaged: nil)
      return nil
    }
    return lease.place == .cache ? layer.pointee.file : layer.pointee.memoryFile
  }

  @inline(never)
  private mutating func want(_ index: Int, damaged: BlobView.Lease?) {
    let operation = operations + index
    operation.pointee.done = 0
    operation.pointee.lease = nil
    operation.pointee.attempts &+= 1
    states[index / RequestState.operationsMax].hasWaited = true
    transport.want(
      layer: Int(operation.pointee.layer), offset: operation.pointee.fileOffset, count: operation.pointee.count,
      operation: UInt32(truncatingIfNeeded: index), damaged: damaged)
  }

  /// What was wanted for an operation came: result 0. Or it will not: a negative error number.
  mutating func finishFetch(_ index: Int, result: Int32) {
    let tag = index / RequestState.operationsMax
    let operation = operations + index
    let isHopeless = operation.pointee.attempts > Operation.attemptsMax
    if result == 0, !isHopeless { return submit(index, tag) }
    fail(
      tag, .fetch, layer: operation.pointee.layer, offset: operation.pointee.fileOffset,
      code: result == 0 ? -Int(ENOBUFS) : Int(result))
    finish(UInt8(1) << UInt8(truncatingIfNeeded: index % RequestState.operationsMax), tag)
  }

  /// Whether the bytes of an operation whose read has ended have to be read again: some may have been dropped while they
  /// were read, or the cache cannot be read.
  @inline(__always)
  mutating func readsAgain(_ index: Int, _ tag: Int) -> Bool {
    let operation = operations + index
    guard let lease = operation.pointee.lease, let view = source.layers[Int(operation.pointee.layer)].view
    else { return false }
    if operation.pointee.done < operation.pointee.count { return repairs(index) }
    if view.holds(lease, operation.pointee.fileOffset, UInt64(operation.pointee.count)) { return false }
    operation.pointee.done = 0
    submit(index, tag)
    return true
  }

  /// Has the bytes of a remote operation, which are damaged, brought anew. False when that does not help.
  mutating func repairs(_ index: Int) -> Bool {
    let operation = operations + index
    guard let lease = operation.pointee.lease, operation.pointee.repairs < Operation.repairsMax else { return false }
    operation.pointee.repairs &+= 1
    want(index, damaged: lease)
    return true
  }
}
