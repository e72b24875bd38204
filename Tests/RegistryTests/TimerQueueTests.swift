import Testing

@testable import Registry

@Suite struct TimerQueueTests {
  @Test func runsInOrderOfTimeThenOfAge() {
    var queue = TimerQueue()
    var ran: [Int] = []
    for (number, time) in [5, 3, 9, 3, 1].enumerated() { queue.add(at: UInt64(time)) { ran.append(number) } }
    while let body = queue.take(now: 5) { body() }
    #expect(ran == [4, 1, 3, 0])
    #expect(queue.next() == 9 && queue.count == 1)
  }

  @Test func aCancelledTimerNeverRuns() {
    var queue = TimerQueue()
    var ran = 0
    let timers = (0..<1000).map { time in queue.add(at: UInt64(time)) { ran += 1 } }
    for timer in timers[..<999] { queue.cancel(timer) }
    #expect(queue.next() == 999)
    while let body = queue.take(now: 2000) { body() }
    #expect(ran == 1 && queue.next() == nil)
  }
}
