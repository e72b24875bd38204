import Glibc
import Posix
import Ublk
import UpperLayer

/// The way of what changes the disk.
///
///     change ─┬─ WRITE ─▶ gathered ─ end of the wake ─▶ writeGathered ─┬─▶ answered
///             │                                                        ├─ FUA ─┐
///             │              layers below have to be read (sparse upper) ├─ the worker writes ─▶ finishWork
///             ├─ FLUSH ─▶ gathered ─ after the wake's writes ──────────────────┴▶ flushGathered ─┬─▶ answered
///             │                                                                        worker ◀──┘
///             └─ DISCARD, WRITE_ZEROES ─▶ the worker ─▶ finishWork ─▶ answered
///
/// Requests that are under way at the same time may be served in any order; each of the upper's calls is all or nothing
/// for a sector.
///
/// WRITEs and FLUSHes are timed. What is answered together shares one look at the clock.
extension Queue where Transport: ~Copyable {
  /// A request that is not a read has arrived.
  @inline(never)
  mutating func change(_ tag: Int, _ request: Request) {
    guard source.upper != nil, let operation = Request.Operation(rawValue: request.operationNumber) else {
      return refuse(tag, request)
    }
    states[tag].arrival = arrivalTime()
    switch operation {
    case .write:
      guard isInside(request), fitsBuffer(request) else { return refuse(tag, request) }
      let bytes = UnsafeRawBufferPointer(start: memory.buffer(tag), count: Int(request.sectors) << 9)
      let isFull = writes.add(
        UpperWrite(sector: request.startSector, bytes: bytes),
        WriteTable.Owner(
          tag: UInt32(truncatingIfNeeded: tag), goesThroughCache: request.flags.contains(.throughCache)))
      if isFull { writeGathered() }
    case .flush:
      flush(tag, bytes: 0)
    case .discard, .writeZeroes:
      guard isInside(request) else { return refuse(tag, request) }
      let keepsSpace = operation == .writeZeroes && request.flags.contains(.keepsSpace)
      work(
        tag, .zero(sector: request.startSector, sectors: UInt64(request.sectors), keepsSpace: keepsSpace), bytes: 0)
    case .read, .writeSame:
      refuse(tag, request)
    }
  }

  /// Writes what was gathered in one call. If that fails, one after the other: where there is too little room for all of
  /// them there may be room for some, and each gets an answer of its own.
  @inline(never)
  mutating func writeGathered() {
    let count = writes.count
    let result = transport.writeNow(writes.pieces(0, count))
    var now = monotonicNanoseconds()
    for place in 0..<count {
      var own = result
      if result != 0, count > 1 {
        own = transport.writeNow(writes.pieces(place, 1))
        now = monotonicNanoseconds()
      }
      finishWrite(place, own, now)
    }
    writes.removeAll()
  }

  @inline(__always)
  private mutating func finishWrite(_ place: Int, _ result: Int32, _ now: UInt64) {
    let owner = writes.owner(place)
    let tag = Int(owner.tag)
    let bytes = writes.bytes(place)
    if result == -EAGAIN {
      return work(
        tag, .write(writes.pieces(place, 1)[0], goesThroughCache: owner.goesThroughCache), bytes: bytes)
    }
    if result != 0 {
      counters.pointee.fail(.write, layer: source.upperLayer, offset: writes.sector(place) << 9, code: -result)
    } else {
      counters.pointee.writtenBytes &+= UInt64(bytes)
      if owner.goesThroughCache { return flush(tag, bytes: bytes) }
    }
    latencies.add(.write, now &- states[tag].arrival)
    answerChange(tag, result != 0 ? result : Int32(truncatingIfNeeded: bytes))
  }

  /// Has a request wait for the flush at the end of the wake; `bytes` is what its answer says if that succeeds.
  private mutating func flush(_ tag: Int, bytes: UInt32) {
    states[tag].bytes = bytes
    flushes[flushCount] = UInt32(truncatingIfNeeded: tag)
    flushCount &+= 1
  }

  /// One flush for all that wait: here where the upper is in memory, for the way to another thread and back would take
  /// longer, and otherwise by the worker.
  @inline(never)
  mutating func flushGathered() {
    let tags = 0..<flushCount
    flushCount = 0
    guard let result = transport.flushNow() else {
      for place in tags { transport.work(.flush, tag: Int(flushes[place])) }
      return
    }
    let now = monotonicNanoseconds()
    for place in tags { finishWork(Int(flushes[place]), result: result, now: now) }
  }

  /// Hands a request to the worker; `bytes` is what its answer says if that succeeds.
  private mutating func work(_ tag: Int, _ work: UpperWork, bytes: UInt32) {
    states[tag].bytes = bytes
    transport.work(work, tag: tag)
  }

  /// The worker is done with a request. Of one that it has written, and not only flushed, `result` is how many bytes.
  mutating func finishWork(_ tag: Int, result: Int32, now: UInt64) {
    let request = transport.request(tag)
    let isZeroing =
      request.operationNumber == Request.Operation.discard.rawValue
      || request.operationNumber == Request.Operation.writeZeroes.rawValue
    let isWrite = request.operationNumber == Request.Operation.write.rawValue
    let isFlush = !isZeroing && (!isWrite || request.flags.contains(.throughCache))
    if result < 0 {
      counters.pointee.fail(
        isZeroing ? .zero : isFlush ? .flush : .write, layer: source.upperLayer, offset: request.startSector << 9,
        code: -result)
    } else {
      if isFlush { counters.pointee.flushes &+= 1 }
      if result > 0 { counters.pointee.writtenBytes &+= UInt64(result) }
    }
    if !isZeroing { latencies.add(isWrite ? .write : .flush, now &- states[tag].arrival) }
    answerChange(tag, result < 0 ? result : Int32(truncatingIfNeeded: states[tag].bytes))
  }

  /// Answers a request that is not a read. Of errors the kernel has a few that programs can do something about: a full disk
  /// is one of them, and a quota that is used up is the same to them.
  @inline(__always)
  private mutating func answerChange(_ tag: Int, _ result: Int32) {
    inFlight &-= 1
    if result >= 0 { return transport.commit(tag, result: result) }
    counters.pointee.errors &+= 1
    transport.commit(tag, result: result == -ENOSPC || result == -EDQUOT ? -ENOSPC : -EIO)
  }
}
