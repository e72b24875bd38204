import Posix
import UpperLayer

/// A pause: nothing new is begun, what is in flight ends, the control thread does something, all goes on.
///
///     order ─ pause ─▶ arrivals are held ─ nothing in flight ─▶ said so ─ order ─ resume ─▶ what was held arrives
extension Queue where Transport: ~Copyable {
  /// The control thread has an order.
  @inline(never)
  mutating func takeOrder() {
    switch pausePoint?.take() {
    case .pause(let files, let reply):
      let code = transport.register(files)
      isPausing = true
      if code == 0 { pauseReply = reply } else { reply.set(code) }
    case .resume(let change):
      if !isPausing { return }
      if let change {
        source = change.source
        transport.use(change.upper)
      }
      isPausing = false
      pauseReply = nil
      takeHeld()
    case nil: break
    }
  }

  /// Says that nothing is in flight, once that is so.
  @inline(never)
  mutating func notePause() {
    if inFlight > 0 { return }
    pauseReply?.set(0)
    pauseReply = nil
  }

  /// Keeps a request for the end of the pause. The time until then is a part of what it takes.
  @inline(never)
  mutating func hold(_ tag: Int) {
    states[tag].arrival = arrivalTime()
    held[heldCount] = UInt32(truncatingIfNeeded: tag)
    heldCount += 1
  }

  private mutating func takeHeld() {
    let count = heldCount
    heldCount = 0
    for place in 0..<count {
      let tag = Int(held[place])
      eventTime = states[tag].arrival
      arrive(tag)
    }
    eventTime = 0
  }
}
