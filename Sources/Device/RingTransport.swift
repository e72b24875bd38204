import BlobStore
import CLinux
import Glibc
import Image
import Posix
import Ring
import Ublk
import UpperLayer

/// The kernel: one io_uring, the queue's part of `/dev/ublkcN`, and the files of the layers.
struct RingTransport: QueueTransport, ~Copyable {
  private let ring: Ring
  private let requests: RequestTable
  private let commands: QueueCommands
  private let character: Int32
  private let memory: RequestMemory
  private let dataPath: DataPath
  private let mailbox: Mailbox?
  private let port: FetchPort?
  private var upper: UpperPort?
  /// What the mailbox had, and how much of it was taken.
  private var mail: [Event] = []
  private var mailTaken = 0
  private var ready: UInt32 = 0
  private var taken: UInt32 = 0
  /// Bytes of a copy for which the exact look at the page cache would cost as much as the copy.
  private let smallCopy = 16 << 10
  private let second = TimerInterval(seconds: 1)
  private var refusals = Refusals()
  /// Gets what is prepared once the ring is broken, and leads nowhere.
  private let spare = SpareEntry()

  /// Made on the thread that serves the queue: the ring and the driver bind to it.
  init(
    character: Int32, queue: Int, depth: Int, files: [Int32], memory: RequestMemory,
    spareSlots: Int, dataPath: DataPath, mailbox: Mailbox?, port: FetchPort?, upper: UpperPort?
  ) throws(Errno) {
    // Room for every tag's answer and a read each; a queue that needs more submits in between.
    let ring = try Ring(entries: UInt32(min(depth * 4, 16384)), flags: .serving)
    try ring.registerFiles([character] + files + [Int32](repeating: -1, count: spareSlots))
    if dataPath.isZeroCopy { try ring.registerEmptyBuffers(UInt32(depth)) }
    let requests = try RequestTable(character: character, queue: queue, depth: depth)
    self.ring = ring
    self.requests = requests
    commands = QueueCommands(queue: queue, slot: 0)
    self.character = character
    self.memory = memory
    self.dataPath = dataPath
    self.mailbox = mailbox
    self.port = port
    self.upper = upper
    listen()
  }

  /// Has the ring tell once when there is mail.
  private mutating func listen() {
    guard let mailbox else { return }
    entry().poll(mailbox.descriptor, userData: Event.userData(.wake, 0))
  }

  mutating func want(layer: Int, offset: UInt64, count: UInt32, operation: UInt32, damaged: BlobView.Lease?) {
    port?.want(layer: layer, offset: offset, count: count, operation: operation, damaged: damaged)
  }

  mutating func writeNow(_ pieces: UnsafeBufferPointer<UpperWrite>) -> Int32 { upper?.writeNow(pieces) ?? -EROFS }

  mutating func flushNow() -> Int32? { upper?.flushNow() }

  mutating func work(_ work: UpperWork, tag: Int) { upper?.work(work, tag: tag) }

  mutating func register(_ files: [LayerFile]) -> Int32 {
    do throws(Errno) {
      for file in files { try ring.registerFile(file.descriptor, slot: file.slot) }
      return 0
    } catch {
      return error.rawValue
    }
  }

  mutating func use(_ upper: Upper) { self.upper?.use(upper) }

  /// Why the ring is broken; nil while it is not.
  var failure: Errno? { refusals.final }

  func request(_ tag: Int) -> Request { requests[tag] }

  mutating func fetch(_ tag: Int) {
    commands.fetch(
      entry(), tag: tag, address: address(tag), registration: registration(tag),
      userData: Event.userData(.tag, UInt32(truncatingIfNeeded: tag)))
  }

  mutating func commit(_ tag: Int, result: Int32) {
    commands.commit(
      entry(), tag: tag, result: result, address: address(tag), registration: registration(tag),
      userData: Event.userData(.tag, UInt32(truncatingIfNeeded: tag)))
  }

  mutating func read(
    _ file: LayerFile, offset: UInt64, into memory: UnsafeMutableRawPointer, count: UInt32, operation: UInt32
  ) {
    entry().read(
      slot: file.slot, offset: offset, into: memory, count: count, userData: Event.userData(.operation, operation))
  }

  mutating func read(
    _ file: LayerFile, offset: UInt64, intoRequest tag: Int, position: UInt32, count: UInt32, operation: UInt32
  ) {
    entry().readFixed(
      slot: file.slot, offset: offset, buffer: Int32(truncatingIfNeeded: tag), position: UInt64(position),
      count: count, userData: Event.userData(.operation, operation))
  }

  mutating func readAndCommit(_ file: LayerFile, offset: UInt64, tag: Int, count: UInt32, operation: UInt32) {
    // A chain ends where a submission ends, so both entries must go in one. A short read breaks the chain as an
    // error does; the answer is then cancelled without a completion of its own, because its read was to be quiet.
    makeRoom(2)
    entry().readFixed(
      slot: file.slot, offset: offset, buffer: Int32(truncatingIfNeeded: tag), position: 0, count: count,
      userData: Event.userData(.operation, operation), flags: [.link, .quietSuccess])
    commit(tag, result: Int32(truncatingIfNeeded: count))
  }

  mutating func readNow(
    _ file: LayerFile, offset: UInt64, into memory: UnsafeMutableRawPointer, count: Int
  ) -> Int {
    while true {
      let result = pread(file.descriptor, memory, count, Int(truncatingIfNeeded: offset))
      if result >= 0 { return result }
      let error = Errno.last
      if error != .interrupted { return -Int(error.rawValue) }
    }
  }

  mutating func readCached(
    _ file: LayerFile, offset: UInt64, into memory: UnsafeMutableRawPointer, count: Int
  ) -> Int {
    max(0, clinux_pread_nowait(file.descriptor, memory, count, Int64(truncatingIfNeeded: offset)))
  }

  mutating func copyCached(
    _ file: LayerFile, offset: UInt64, count: Int, toRequest tag: Int, position: Int
  ) -> Int? {
    guard let mapped = file.mapped, offset <= UInt64(mapped.count), UInt64(mapped.count) &- offset >= UInt64(count),
      let base = mapped.baseAddress
    else { return nil }
    let bytes = base + Int(truncatingIfNeeded: offset)
    // A page that is on its way would make this thread wait. Among the few of a small read there is hardly one.
    let isCached =
      count <= smallCopy
      ? PageCache.hasPages(file.descriptor, offset: offset, count: count) : PageCache.isReady(bytes, count: count)
    if !isCached { return nil }
    let copied = copyNow(bytes, count: count, toRequest: tag, position: position)
    if copied != count { return copied }
    // Pages that a shorter file has lost fail above, but the rest of its last page reads as zeroes.
    let size = lseek(file.descriptor, 0, SEEK_END)
    if size < 0 { return -Int(Errno.last.rawValue) }
    return min(count, max(0, size - Int(truncatingIfNeeded: offset)))
  }

  mutating func copyNow(_ memory: UnsafeRawPointer, count: Int, toRequest tag: Int, position: Int) -> Int {
    let start = Int(truncatingIfNeeded: commands.userCopyPosition(tag: tag)) + position
    var done = 0
    while done < count {
      let result = pwrite(character, memory + done, count - done, start + done)
      if result > 0 {
        done += result
      } else if result == 0 || Errno.last != .interrupted {
        return result == 0 ? -Int(EIO) : -Int(Errno.last.rawValue)
      }
    }
    return done
  }

  mutating func startTimer() { entry().timeout(second, userData: Event.userData(.tick, 0)) }

  mutating func submitAndWait() -> Bool {
    if failure != nil { return false }
    ring.consume(taken)
    taken = 0
    do throws(Errno) {
      try ring.submitAndWait()
      refusals.end()
    } catch {
      refusals.add(error)
    }
    ready = ring.readyCompletions
    return failure == nil
  }

  mutating func nextEvent() -> Event? {
    if taken == ready { return nextLetter() }
    let completion = ring.completion(taken)
    taken &+= 1
    let event = Event(userData: completion.userData, result: completion.result)
    if event.kindNumber == Event.Kind.wake.rawValue {
      takeMail()
      return nextEvent()
    }
    return event
  }

  @inline(__always)
  private mutating func nextLetter() -> Event? {
    if mailTaken == mail.count { return nil }
    mailTaken += 1
    return mail[mailTaken - 1]
  }

  @inline(never)
  private mutating func takeMail() {
    guard let mailbox else { return }
    mail.removeFirst(mailTaken)
    mailTaken = 0
    mail += mailbox.take()
    listen()
  }

  /// The next free entry; a full ring is submitted first.
  @inline(__always)
  private mutating func entry() -> Entry {
    if let entry = ring.nextEntry() { return entry }
    makeRoom(1)
    return ring.nextEntry() ?? spare.entry
  }

  /// Submits until `count` entries are free, or the ring is broken.
  @inline(__always)
  private mutating func makeRoom(_ count: UInt32) {
    while ring.freeEntries < count, failure == nil { flush() }
  }

  @inline(never)
  private mutating func flush() {
    // What has been taken makes room for completions that the kernel holds back.
    ring.consume(taken)
    ready &-= taken
    taken = 0
    do throws(Errno) {
      try ring.submit()
      refusals.end()
    } catch {
      refusals.add(error)
    }
  }

  @inline(__always)
  private func address(_ tag: Int) -> UInt64 {
    dataPath.copiesOut ? 0 : UInt64(UInt(bitPattern: memory.buffer(tag)))
  }

  @inline(__always)
  private func registration(_ tag: Int) -> UInt64 { dataPath.isZeroCopy ? UInt64(UInt16(truncatingIfNeeded: tag)) : 0 }
}
