import BlobStore
import Glibc
import Posix
import Synchronization
import Ublk
import UpperLayer

@testable import Device

/// A kernel for one queue, in memory and seeded: it hands out requests, reads "files", completes things late and in
/// another order, and fails them. What it checks on the way: that nobody answers twice, answers a request that it
/// does not own, or reads into a request that was answered.
final class FakeTransport: QueueTransport {
  /// What can go wrong, each as one chance in so many; 0 is never.
  struct Faults {
    var error = 0
    var shortRead = 0
    var interruption = 0
    var copyError = 0
    /// Files end this many bytes early.
    var truncation = 0
    /// Bytes of a remote layer do not come.
    var fetchError = 0
    /// A chunk of a remote layer is dropped, at any moment.
    var drop = 0
    /// Bytes of a remote layer with checksums spoil after they came first; asked for again they come right.
    var spoiling = 0
    /// And they do not come right.
    var spoilingForGood = 0
    /// The upper refuses a write.
    var writeError = 0
    /// The upper's disk becomes full, or has room again, before a write.
    var fullDisk = 0
    var flushError = 0
    var zeroError = 0
    /// A file cannot be put into the ring's table.
    var registration = 0
  }

  /// A request and what became of it.
  struct Ticket {
    let request: Request
    var result: Int32?
    var data: [UInt8] = []
    /// Whether something was injected while it was served that may not be hidden.
    var sawFault = false
    /// When it was handed out, when the upper took what it writes, and when it was answered.
    var began: UInt64 = 0
    var written: UInt64?
    var ended: UInt64 = 0
    /// How often it was handed out again, because a server died before it had answered.
    var reissues = 0
  }

  /// A clock of events, for all queues of a device.
  final class Clock: Sendable {
    private let now = Atomic<UInt64>(1)
    func tick() -> UInt64 { now.add(1, ordering: .sequentiallyConsistent).newValue }
  }

  var memory: RequestMemory
  let dataPath: DataPath
  let files: [[UInt8]]
  /// Of the layers that have one, by layer.
  let remotes: [TestRemote?]
  var faults = Faults()
  var tickets: [Ticket]
  /// Violations of the protocol, in words.
  var complaints: [String] = []
  /// Requests in the order in which the queue looked at them.
  var arrivals: [Request] = []
  var ticks = 0
  /// Whether requests come as many at once as there are tags.
  var comesInBursts = false
  /// Calls of the upper, and what they wrote.
  var writeCalls = 0
  var writtenPieces = 0
  /// Whether the upper is in memory, so that flushes are done at once; and how often that was so.
  var flushesNow = false
  var flushesHere = 0
  /// Milliseconds that each flush takes besides.
  var flushMilliseconds: UInt32 = 0
  /// Writes for which the layers below were read.
  var waitingWrites = 0
  var wants = 0
  var repairs = 0
  var repairedInVain: Set<UInt32> = []

  var random: SeededRandom
  /// Tickets that are to be handed out, the next one first.
  var coming: [Int]
  var armed: [Int] = []
  var retired: Set<Int> = []
  var owner: [Int: Int] = [:]
  var pages: [Int: [UInt8]] = [:]
  var waiting: [() -> [Event]] = []
  var ready: [Event] = []
  var timerIsSet = false
  /// The upper of a writable device, its layer number, and what becomes of the number of a ticket when it is written.
  var upper: (any ServedUpper)?
  /// Where orders come from, and whether more may come: the queue does not end before.
  var mailbox: Mailbox?
  let mayEnd = Atomic<Bool>(true)
  /// Requests that were not handed out.
  let left = Atomic<Int>(0)
  var idle = 0
  let clock: Clock
  let firstTicket: Int
  /// The server's life, where it may end before the requests do.
  var life: ServerLife?
  /// Answers that are not submitted yet.
  var unsent: [(tag: Int, result: Int32)] = []
  /// Tags with which the worker is busy.
  var working: Set<Int> = []
  var reissued = Reissued()
  var lifeBegan: UInt64 = 0
  var diskIsFull = false
  var lastFlush: UInt64 = 0

  init(
    memory: RequestMemory, dataPath: DataPath, files: [[UInt8]], remotes: [TestRemote?], requests: [Request],
    faults: Faults, random: SeededRandom, upper: (any ServedUpper)? = nil, clock: Clock = Clock(), firstTicket: Int = 0
  ) {
    self.memory = memory
    self.dataPath = dataPath
    self.files = files
    self.remotes = remotes
    self.faults = faults
    self.random = random
    self.upper = upper
    self.clock = clock
    self.firstTicket = firstTicket
    tickets = requests.map { Ticket(request: $0) }
    coming = Array(tickets.indices)
  }

  // MARK: Requests

  func request(_ tag: Int) -> Request {
    arrivals.append(tickets[owner[tag]!].request)
    return tickets[owner[tag]!].request
  }

  func fetch(_ tag: Int) { arm(tag) }

  func commit(_ tag: Int, result: Int32) {
    // The driver copies what was read when the ring is submitted; what a server has in its ring dies with it.
    unsent.append((tag, result))
  }

  /// Submits the answers; false when the server dies meanwhile.
  func sendAnswers() -> Bool {
    for (tag, result) in unsent {
      if let life, !life.goesOn() { return false }
      answer(tag, result, data: nil)
    }
    unsent = []
    return !(life?.isDead ?? false)
  }

  func answer(_ tag: Int, _ result: Int32, data: [UInt8]?) {
    guard let number = owner.removeValue(forKey: tag) else {
      return complaints.append("tag \(tag) was answered without a request")
    }
    tickets[number].result = result
    tickets[number].ended = clock.tick()
    if !tickets[number].request.isRead {
      checkDurable(number)
      return arm(tag)
    }
    let count = max(0, Int(result))
    tickets[number].data =
      dataPath.copiesOut
      ? Array((pages.removeValue(forKey: tag) ?? []).prefix(count))
      : Array(UnsafeRawBufferPointer(start: memory.buffer(tag), count: count))
    arm(tag)
  }

  /// What says that it is durable was written before a flush that came after it.
  func checkDurable(_ number: Int) {
    let ticket = tickets[number]
    guard let result = ticket.result, result >= 0 else { return }
    let isFlush = ticket.request.operationNumber == Request.Operation.flush.rawValue
    let isThrough = ticket.request.flags.contains(.throughCache)
    let since = isFlush ? ticket.began : isThrough ? ticket.written ?? .max : 0
    if lastFlush < since { complaints.append("request \(number) was answered without a flush") }
  }

  func arm(_ tag: Int) {
    if armed.contains(tag) { complaints.append("tag \(tag) was armed twice") }
    armed.append(tag)
  }

  // MARK: Time

  func register(_ files: [LayerFile]) -> Int32 {
    if !files.isEmpty, strike(faults.registration) { return ENOMEM }
    return 0
  }

  func use(_ upper: Upper) {
    if !waiting.isEmpty { complaints.append("the upper was replaced while something was in flight") }
    self.upper = upper
  }

  func startTimer() {
    if timerIsSet { complaints.append("two timers at once") }
    timerIsSet = true
  }

  func later(_ work: @escaping () -> [Event]) { waiting.append(work) }

  func submitAndWait() -> Bool {
    if !ready.isEmpty { complaints.append("waited with events unread") }
    guard sendAnswers() else { return false }
    life?.passTurn()
    deliverRequests()
    if let mailbox {
      ready += mailbox.take()
      left.store(coming.count, ordering: .relaxed)
      usleep(100)
    }
    // Some of what is in flight ends, in any order; at least one thing if there is any.
    let count = waiting.isEmpty ? 0 : Int.random(in: 1...waiting.count, using: &random)
    for _ in 0..<count {
      dropSomething()
      if let life, !life.goesOn() { break }
      let index = Int.random(in: 0..<waiting.count, using: &random)
      ready += waiting.remove(at: index)()
    }
    if let life, life.isDead { return false }
    if timerIsSet, random.chance(8) || (ready.isEmpty && waiting.isEmpty) { fireTimer() }
    if ready.isEmpty && waiting.isEmpty && coming.isEmpty && owner.isEmpty,
      mayEnd.load(ordering: .acquiring)
    {
      retireAll()
    }
    idle = ready.isEmpty ? idle + 1 : 0
    if mailbox != nil, idle < 100_000 {
      ready.shuffle(using: &random)
      return true
    }
    if ready.isEmpty && waiting.isEmpty && armed.isEmpty && retired.isEmpty {
      complaints.append("the queue waits for something that cannot come")
      return false
    }
    ready.shuffle(using: &random)
    dropSomething()
    return true
  }

  func deliverRequests() {
    // Now and then nobody wants anything for a while.
    if timerIsSet, waiting.isEmpty, random.chance(3) { return }
    while let number = coming.first, !armed.isEmpty,
      comesInBursts || random.chance(2) || (waiting.isEmpty && ready.isEmpty)
    {
      let tag = armed.remove(at: Int.random(in: 0..<armed.count, using: &random))
      owner[tag] = number
      if tickets[number].reissues == 0 { tickets[number].began = clock.tick() }
      deliverData(tag, number)
      coming.removeFirst()
      ready.append(Event(.tag, UInt32(tag), result: 0))
    }
  }

  /// The driver copies what is to be written before it hands out the request.
  func deliverData(_ tag: Int, _ number: Int) {
    let request = tickets[number].request
    let bytes = Int(request.sectors) * 512
    guard upper != nil, request.operationNumber == Request.Operation.write.rawValue, bytes <= memory.requestBytesMax
    else { return }
    for sector in 0..<Int(request.sectors) {
      let mark = SectorMark(
        writer: firstTicket + number, sector: Int(truncatingIfNeeded: request.startSector) &+ sector)
      mark.fill(memory.buffer(tag) + sector * 512)
    }
  }

  func fireTimer() {
    timerIsSet = false
    ticks += 1
    ready.append(Event(.tick, 0, result: -ETIME))
  }

  func retireAll() {
    for tag in armed {
      retired.insert(tag)
      ready.append(Event(.tag, UInt32(tag), result: -ENODEV))
    }
    armed = []
  }

  func nextEvent() -> Event? { ready.popLast() }
}

/// A small generator that repeats for a seed (SplitMix64).
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// True once in `oneIn` times.
  mutating func chance(_ oneIn: Int) -> Bool { Int.random(in: 0..<oneIn, using: &self) == 0 }
}
