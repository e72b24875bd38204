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

  private(set) var memory: RequestMemory
  let dataPath: DataPath
  let files: [[UInt8]]
  /// Of the layers that have one, by layer.
  let remotes: [TestRemote?]
  var faults = Faults()
  var tickets: [Ticket]
  /// Violations of the protocol, in words.
  var complaints: [String] = []
  /// Requests in the order in which the queue looked at them.
  private(set) var arrivals: [Request] = []
  private(set) var ticks = 0
  /// Whether requests come as many at once as there are tags.
  var comesInBursts = false
  /// Calls of the upper, and what they wrote.
  private(set) var writeCalls = 0
  private(set) var writtenPieces = 0
  /// Whether the upper is in memory, so that flushes are done at once; and how often that was so.
  var flushesNow = false
  private(set) var flushesHere = 0
  /// Milliseconds that each flush takes besides.
  var flushMilliseconds: UInt32 = 0
  /// Writes for which the layers below were read.
  private(set) var waitingWrites = 0
  private(set) var wants = 0
  private(set) var repairs = 0
  private var repairedInVain: Set<UInt32> = []

  private var random: SeededRandom
  /// Tickets that are to be handed out, the next one first.
  private var coming: [Int]
  private var armed: [Int] = []
  private var retired: Set<Int> = []
  private var owner: [Int: Int] = [:]
  private var pages: [Int: [UInt8]] = [:]
  private var waiting: [() -> [Event]] = []
  private var ready: [Event] = []
  private var timerIsSet = false
  /// The upper of a writable device, its layer number, and what becomes of the number of a ticket when it is written.
  private var upper: (any ServedUpper)?
  /// Where orders come from, and whether more may come: the queue does not end before.
  var mailbox: Mailbox?
  let mayEnd = Atomic<Bool>(true)
  /// Requests that were not handed out.
  let left = Atomic<Int>(0)
  private var idle = 0
  private let clock: Clock
  let firstTicket: Int
  /// The server's life, where it may end before the requests do.
  private var life: ServerLife?
  /// Answers that are not submitted yet.
  private var unsent: [(tag: Int, result: Int32)] = []
  /// Tags with which the worker is busy.
  private var working: Set<Int> = []
  private(set) var reissued = Reissued()
  private var lifeBegan: UInt64 = 0
  private var diskIsFull = false
  private var lastFlush: UInt64 = 0

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
  private func sendAnswers() -> Bool {
    for (tag, result) in unsent {
      if let life, !life.goesOn() { return false }
      answer(tag, result, data: nil)
    }
    unsent = []
    return !(life?.isDead ?? false)
  }

  private func answer(_ tag: Int, _ result: Int32, data: [UInt8]?) {
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
  private func checkDurable(_ number: Int) {
    let ticket = tickets[number]
    guard let result = ticket.result, result >= 0 else { return }
    let isFlush = ticket.request.operationNumber == Request.Operation.flush.rawValue
    let isThrough = ticket.request.flags.contains(.throughCache)
    let since = isFlush ? ticket.began : isThrough ? ticket.written ?? .max : 0
    if lastFlush < since { complaints.append("request \(number) was answered without a flush") }
  }

  private func arm(_ tag: Int) {
    if armed.contains(tag) { complaints.append("tag \(tag) was armed twice") }
    armed.append(tag)
  }

  // MARK: Reads

  func read(
    _ file: LayerFile, offset: UInt64, into target: UnsafeMutableRawPointer, count: UInt32, operation: UInt32
  ) {
    let tag = Int(operation) / RequestState.operationsMax
    later { [self] in
      let (result, bytes) = perform(file, offset, Int(count), tag)
      bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
      return [Event(.operation, operation, result: Int32(result))]
    }
  }

  func read(
    _ file: LayerFile, offset: UInt64, intoRequest tag: Int, position: UInt32, count: UInt32, operation: UInt32
  ) {
    if dataPath != .zeroCopy { complaints.append("a zero-copy read in a copying device") }
    later { [self] in
      let (result, bytes) = perform(file, offset, Int(count), tag)
      put(bytes, tag, Int(position))
      return [Event(.operation, operation, result: Int32(result))]
    }
  }

  func readAndCommit(_ file: LayerFile, offset: UInt64, tag: Int, count: UInt32, operation: UInt32) {
    if dataPath != .zeroCopy { complaints.append("a quiet read in a copying device") }
    later { [self] in
      let (result, bytes) = perform(file, offset, Int(count), tag)
      put(bytes, tag, 0)
      // As the kernel does it: a quiet read that succeeded in full says nothing, any other takes its answer along.
      if result != Int(count) { return [Event(.operation, operation, result: Int32(result))] }
      answer(tag, Int32(count), data: bytes)
      return []
    }
  }

  func readNow(_ file: LayerFile, offset: UInt64, into target: UnsafeMutableRawPointer, count: Int) -> Int {
    // Interruptions do not leave a plain read: the transport repeats it.
    var result = -Int(EINTR)
    var bytes: [UInt8] = []
    while result == -Int(EINTR) || result == -Int(EAGAIN) { (result, bytes) = perform(file, offset, count, nil) }
    bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
    return result
  }

  func readCached(
    _ file: LayerFile, offset: UInt64, into target: UnsafeMutableRawPointer, count: Int
  ) -> Int {
    if random.chance(3) { return 0 }
    if file.descriptor >= 0 {
      let (result, bytes) = performOnFile(
        file, offset, random.chance(3) ? (count / 512 + 1) / 2 * 512 : count, nil)
      bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
      return result
    }
    let content = files[Int(file.slot) - 1]
    let there = content.dropLast(faults.truncation).dropFirst(Int(offset)).prefix(count)
    let bytes = Array(random.chance(3) ? there.prefix(there.count / 2) : there)
    bytes.withUnsafeBytes { if $0.count > 0 { target.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
    return bytes.count
  }

  func copyCached(
    _ file: LayerFile, offset: UInt64, count: Int, toRequest tag: Int, position: Int
  ) -> Int? {
    if dataPath != .userCopy { complaints.append("a copy from the page cache in another kind of device") }
    if random.chance(3) { return nil }
    var done = 0
    while done < count {
      let (result, bytes) = perform(file, offset + UInt64(done), count - done, tag)
      // The transport repeats what was interrupted, and goes on after a part.
      if result == -Int(EINTR) || result == -Int(EAGAIN) { continue }
      if result <= 0 { return result < 0 ? result : done }
      put(bytes, tag, position + done)
      done += result
    }
    return done
  }

  func copyNow(_ source: UnsafeRawPointer, count: Int, toRequest tag: Int, position: Int) -> Int {
    if dataPath == .copy { complaints.append("a user copy in a copying device") }
    if strike(faults.copyError) {
      markFault(tag)
      return -Int(EFAULT)
    }
    put(Array(UnsafeRawBufferPointer(start: source, count: count)), tag, position)
    return count
  }

  private func put(_ bytes: [UInt8], _ tag: Int, _ position: Int) {
    guard let number = owner[tag] else { return complaints.append("tag \(tag) got data without a request") }
    let size = Int(tickets[number].request.sectors) * 512
    if position + bytes.count > size { return complaints.append("data beyond the end of a request") }
    pages[tag, default: [UInt8](repeating: 0xee, count: size)].replaceSubrange(
      position..<position + bytes.count, with: bytes)
  }

  // MARK: Writes

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

  private func noteFailedWrite(_ pieces: UnsafeBufferPointer<UpperWrite>, _ upper: any ServedUpper) {
    let now = clock.tick()
    for piece in pieces {
      markWriter(piece) {
        $0.sawFault = true
        if upper.leavesParts { $0.written = now }
      }
    }
  }

  private func markWriter(_ piece: UpperWrite, _ mark: (inout Ticket) -> Void) {
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

  private func perform(_ work: UpperWork, _ upper: any ServedUpper) -> Int32 {
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

  // MARK: Files

  /// One attempt to read: the result as the kernel gives it, and the bytes that came.
  private func perform(_ file: LayerFile, _ offset: UInt64, _ count: Int, _ tag: Int?) -> (Int, [UInt8]) {
    if strike(faults.interruption) { return (-Int(random.chance(2) ? EINTR : EAGAIN), []) }
    if strike(faults.error) {
      markFault(tag)
      return (-Int(EIO), [])
    }
    if file.descriptor >= 0 { return performOnFile(file, offset, count, tag) }
    let content = content(of: file)
    let end = max(0, content.count - faults.truncation)
    guard Int(offset) < end else {
      markFault(tag)
      return (0, [])
    }
    var length = min(count, end - Int(offset))
    if length > 1, strike(faults.shortRead) { length = Int.random(in: 1..<length, using: &random) }
    return (length, Array(content[Int(offset)..<Int(offset) + length]))
  }

  /// A file that there is: an upper, or a layer that was one.
  private func performOnFile(_ file: LayerFile, _ offset: UInt64, _ count: Int, _ tag: Int?) -> (Int, [UInt8]) {
    // The kernel comes short at the end of a page: a sector that is given back meanwhile is not torn by that.
    let length =
      count > 512 && strike(faults.shortRead) ? Int.random(in: 1...count / 512 - 1, using: &random) * 512 : count
    var bytes = [UInt8](repeating: 0, count: length)
    let result = pread(file.descriptor, &bytes, length, Int(offset))
    if result < length {
      complaints.append("the upper's data ends at a mapping: \(result) of \(length) bytes at \(offset)")
      markFault(tag)
    }
    return (result, Array(bytes.prefix(max(0, result))))
  }

  /// Slot 0 is the character device, then come the layers, then what remote ones have in memory.
  private func content(of file: LayerFile) -> [UInt8] {
    let number = Int(file.slot) - 1
    if number >= files.count { return remotes[number - files.count]!.memory }
    return remotes[number]?.cache ?? files[number]
  }

  func want(layer: Int, offset: UInt64, count: UInt32, operation: UInt32, damaged: BlobView.Lease?) {
    let isRepair = damaged != nil
    let tag = Int(operation) / RequestState.operationsMax
    guard let remote = remotes[layer] else { return complaints.append("a local layer was wanted") }
    wants += 1
    if isRepair { repairs += 1 }
    later { [self] in
      let chunks = remote.chunks(offset, Int(count))
      if strike(faults.fetchError) {
        markFault(tag)
        return [Event(.fetched, operation, result: -EIO)]
      }
      if isRepair { repair(remote, chunks, operation) }
      let isNew = remote.bring(chunks, toMemory: random.chance(3))
      if remote.hasChecksums, isRepair || isNew, strike(isRepair ? faults.spoilingForGood : faults.spoiling) {
        remote.spoil(chunks.randomElement(using: &random)!)
        if isRepair { for number in owner.values { tickets[number].sawFault = true } }
      }
      return [Event(.fetched, operation, result: 0)]
    }
  }

  /// Drops what was found damaged; or nothing, as when another reader has repaired a part of it meanwhile.
  private func repair(_ remote: TestRemote, _ chunks: ClosedRange<Int>, _ operation: UInt32) {
    if repairedInVain.remove(operation) == nil, random.chance(3) {
      repairedInVain.insert(operation)
    } else {
      for chunk in chunks { remote.drop(chunk) }
    }
  }

  private func dropSomething() {
    guard let remote = remotes.compactMap({ $0 }).randomElement(using: &random), strike(faults.drop) else { return }
    remote.drop(Int.random(in: 0..<remote.chunkCount, using: &random))
  }

  private func strike(_ oneIn: Int) -> Bool { oneIn > 0 && random.chance(oneIn) }

  private func markFault(_ tag: Int?) {
    if let tag, let number = owner[tag] {
      tickets[number].sawFault = true
    } else {
      // What happens at once does not say for which request it is: any that is being served may see it.
      for number in owner.values { tickets[number].sawFault = true }
    }
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

  private func later(_ work: @escaping () -> [Event]) { waiting.append(work) }

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

  private func deliverRequests() {
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
  private func deliverData(_ tag: Int, _ number: Int) {
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

  // MARK: Death

  /// Requests that were handed out again, by how far the dead server had come with them.
  struct Reissued {
    /// It had not looked at them.
    var unseen = 0
    /// Its worker had them.
    var working = 0
    /// They were written, and not answered.
    var written = 0
    /// All.
    var total = 0
  }

  /// The server is dead: nothing of it goes on. What it had not answered is to be handed out again, in any order, for any
  /// tag, among what is new.
  func bury() {
    let unseen = Set(ready.filter { $0.kindNumber == Event.Kind.tag.rawValue }.map(\.index))
    let now = clock.tick()
    for (tag, number) in owner.sorted(by: { $0.key < $1.key }) {
      reissued.total += 1
      if unseen.contains(tag) { reissued.unseen += 1 }
      if working.contains(tag) { reissued.working += 1 }
      if let written = tickets[number].written, written > lifeBegan { reissued.written += 1 }
      tickets[number].reissues += 1
      tickets[number].sawFault = false
      // It may be there from now on, whether the server had said so or not.
      tickets[number].written = tickets[number].written ?? now
      coming.insert(number, at: Int.random(in: 0...min(8, coming.count), using: &random))
    }
    (owner, pages) = ([:], [:])
    (armed, waiting, ready, unsent) = ([], [], [], [])
    (retired, working, repairedInVain) = ([], [], [])
    timerIsSet = false
    idle = 0
    upper = nil
  }

  /// Another server comes.
  func begin(_ memory: RequestMemory, _ upper: any ServedUpper, _ life: ServerLife) {
    lastFlush = 0
    lifeBegan = clock.tick()
    self.memory = memory
    self.upper = upper
    self.life = life
  }

  private func fireTimer() {
    timerIsSet = false
    ticks += 1
    ready.append(Event(.tick, 0, result: -ETIME))
  }

  private func retireAll() {
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
