/// What is to be run when. Of one thread.
struct TimerQueue {
  /// Names a timer, to cancel it. Never used twice.
  struct Identifier: Hashable {
    fileprivate let number: UInt64
  }

  private struct Entry {
    let time: UInt64
    let number: UInt64
  }

  /// A binary heap, the earliest first. Entries of cancelled timers stay until their time or the next compaction.
  private var heap: [Entry] = []
  private var bodies: [UInt64: () -> Void] = [:]
  private var last: UInt64 = 0

  /// How many are waiting.
  var count: Int { bodies.count }

  /// `time` as ``monotonicNanoseconds()`` counts.
  @discardableResult
  mutating func add(at time: UInt64, _ body: @escaping () -> Void) -> Identifier {
    last += 1
    bodies[last] = body
    if heap.count > 2 * bodies.count + 64 { compact() }
    heap.append(Entry(time: time, number: last))
    rise(heap.count - 1)
    return Identifier(number: last)
  }

  /// Does nothing when it has run.
  mutating func cancel(_ timer: Identifier?) {
    if let timer { bodies[timer.number] = nil }
  }

  /// The earliest time; nil when nothing waits.
  mutating func next() -> UInt64? {
    while let first = heap.first {
      if bodies[first.number] != nil { return first.time }
      removeFirst()
    }
    return nil
  }

  /// Takes out the earliest one whose time has come.
  mutating func take(now: UInt64) -> (() -> Void)? {
    guard let time = next(), time <= now else { return nil }
    let number = removeFirst().number
    return bodies.removeValue(forKey: number)
  }

  private mutating func compact() {
    heap.removeAll { bodies[$0.number] == nil }
    heap.sort { Self.isEarlier($0, $1) }
  }

  /// Of two with the same time the older one.
  private static func isEarlier(_ a: Entry, _ b: Entry) -> Bool { (a.time, a.number) < (b.time, b.number) }

  private mutating func rise(_ start: Int) {
    var index = start
    while index > 0 {
      let parent = (index - 1) / 2
      guard Self.isEarlier(heap[index], heap[parent]) else { return }
      heap.swapAt(index, parent)
      index = parent
    }
  }

  @discardableResult
  private mutating func removeFirst() -> Entry {
    heap.swapAt(0, heap.count - 1)
    let entry = heap.removeLast()
    var index = 0
    while true {
      var first = index
      for child in [2 * index + 1, 2 * index + 2] where child < heap.count && Self.isEarlier(heap[child], heap[first]) {
        first = child
      }
      if first == index { return entry }
      heap.swapAt(index, first)
      index = first
    }
  }
}
