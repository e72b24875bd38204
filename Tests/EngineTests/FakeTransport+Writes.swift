import Glibc
import Posix
import Ublk
import UpperLayer

@testable import Device

/// What changes the disk: now, or by the worker.
extension FakeTransport {
  func writeNow(_ pieces: UnsafeBufferPointer<UpperWrite>) -> Int32 {
    guard let upper else {
      complaints.append("a write to a read-only device")
      return -EROFS
    }
    writeCalls += 1
    if strike(faults.fullDisk) { diskIsFull.toggle() }
    if diskIsFull || strike(faults.writeError) {
      for piece in pieces { markWriter(piece) { $0.sawFault = true } }
      return diskIsFull ? -ENOSPC : -EIO
    }
    writtenPieces += pieces.count
    if let life, !life.goesOn() { return -EIO }
    do throws(Errno) { try upper.write(pieces, mayWait: false) } catch {
      if upper.isHurt, error != .again { noteFailedWrite(pieces, upper) }
      return -error.rawValue
    }
    let now = clock.tick()
    for piece in pieces { markWriter(piece) { $0.written = now } }
    _ = life?.goesOn()
    return 0
  }

  func noteFailedWrite(_ pieces: UnsafeBufferPointer<UpperWrite>, _ upper: any ServedUpper) {
    let now = clock.tick()
    for piece in pieces {
      markWriter(piece) {
        $0.sawFault = true
        if upper.leavesParts { $0.written = now }
      }
    }
  }

  func markWriter(_ piece: UpperWrite, _ mark: (inout Ticket) -> Void) {
    let tag = (piece.bytes.baseAddress! - UnsafeRawPointer(memory.buffers)) / memory.requestBytesMax
    guard let number = owner[tag], tickets[number].request.startSector == piece.sector,
      piece.bytes.count == Int(tickets[number].request.sectors) * 512
    else { return complaints.append("a write of something else than a request's data") }
    mark(&tickets[number])
  }

  func flushNow() -> Int32? {
    guard let upper else {
      complaints.append("a flush of a read-only device")
      return -EROFS
    }
    // As from an upper on a disk, or one at which somebody else is busy.
    if !flushesNow || random.chance(8) { return nil }
    if let life, !life.goesOn() { return -EIO }
    flushesHere += 1
    if strike(faults.flushError) {
      // Which requests wait for it is not said.
      markFault(nil)
      return -EIO
    }
    let result = perform(.flush, upper)
    if result < 0, upper.isHurt { markFault(nil) }
    _ = life?.goesOn()
    return result
  }

  func work(_ work: UpperWork, tag: Int) {
    guard let upper else { return complaints.append("work in a read-only device") }
    working.insert(tag)
    later { [self] in
      working.remove(tag)
      let result: Int32
      if strike(work.isFlush ? faults.flushError : work.isWrite ? faults.writeError : faults.zeroError) {
        markFault(tag)
        result = -EIO
      } else {
        result = perform(work, upper)
        if result < 0, upper.isHurt { markFault(tag) }
      }
      let mayBeThere = result < 0 && upper.isHurt && (upper.leavesParts || !work.isWrite)
      if !work.isFlush, mayBeThere || result == 0 && !work.isWrite, let number = owner[tag] {
        tickets[number].written = clock.tick()
      }
      return [Event(.worked, UInt32(tag), result: result)]
    }
  }

  func perform(_ work: UpperWork, _ upper: any ServedUpper) -> Int32 {
    do throws(Errno) {
      switch work {
      case .flush:
        let now = clock.tick()
        usleep(flushMilliseconds * 1000)
        try upper.flush()
        lastFlush = now
      case .zero(let sector, let sectors, let keepsSpace):
        try upper.zero(sector: sector, sectors: sectors, keepsSpace: keepsSpace)
      case .write(let piece, let goesThroughCache):
        waitingWrites += 1
        try withUnsafePointer(to: piece) { piece throws(Errno) in
          try upper.write(UnsafeBufferPointer(start: piece, count: 1), mayWait: true)
        }
        let now = clock.tick()
        markWriter(piece) { $0.written = now }
        if goesThroughCache {
          try upper.flush()
          lastFlush = now
        }
        return Int32(piece.bytes.count)
      }
      return 0
    } catch {
      return -error.rawValue
    }
  }
}
