import Glibc
import Posix
import Testing

@testable import Ring

/// Entries, completions and waits, whatever the operations are.
@Suite(.whereRingsAreAllowed) struct QueueTests {
  @Test("a full queue has no entry to give until it is submitted, and nothing of it is lost")
  func fullQueue() throws {
    let file = try TestFile(4096)
    let ring = try Ring(entries: 4)
    try ring.registerFiles([file.descriptor.rawValue])
    let target = Target(4096)
    var submitted: UInt64 = 0
    for round in 0..<5 {
      #expect(ring.freeEntries == 4)
      for left in (0..<4).reversed() {
        ring.nextEntry()!.read(slot: 0, offset: 0, into: target.base, count: 512, userData: submitted)
        submitted += 1
        #expect(ring.freeEntries == UInt32(left))
      }
      #expect(ring.nextEntry() == nil && ring.freeEntries == 0)
      try ring.submit()
      // Twice as many completions as entries fit: these are taken every other round, also across the wrap.
      if round % 2 == 1 { try take(8, endingBefore: submitted, of: ring) }
    }
    try take(4, endingBefore: submitted, of: ring)
  }

  /// The last `count` completions, each once; all have read 512 bytes.
  private func take(_ count: UInt32, endingBefore end: UInt64, of ring: borrowing Ring) throws {
    let deadline = Deadline(milliseconds: 20_000)
    while ring.readyCompletions < count, !deadline.hasPassed { _ = try ring.submitAndWait(nanoseconds: 1_000_000) }
    try #require(ring.readyCompletions == count)
    let found = (0..<count).map { ring.completion($0) }
    #expect(found.map(\.userData).sorted() == Array((end - UInt64(count))..<end))
    #expect(found.allSatisfy { $0.result == 512 })
    // In two steps, as a caller may that has looked at half of them.
    ring.consume(count / 2)
    #expect(ring.readyCompletions == count - count / 2)
    #expect(ring.completion(0).userData == found[Int(count / 2)].userData)
    ring.consume(count - count / 2)
    #expect(ring.readyCompletions == 0)
  }

  @Test("more completions than the queue has room for all arrive")
  func overflow() throws {
    let file = try TestFile(4096)
    let ring = try Ring(entries: 2, completions: 4, flags: .serving)
    try ring.registerFiles([file.descriptor.rawValue])
    let target = Target(512)
    for data in 0..<20 {
      if ring.freeEntries == 0 { try ring.submit() }
      ring.nextEntry()!.read(slot: 0, offset: 0, into: target.base, count: 512, userData: UInt64(data))
    }
    var found: Set<UInt64> = []
    let deadline = Deadline(milliseconds: 20_000)
    while found.count < 20, try ring.submitAndWait(nanoseconds: deadline.remaining) {
      let ready = ring.readyCompletions
      #expect(ready <= 4)
      for index in 0..<ready { #expect(found.insert(ring.completion(index).userData).inserted) }
      ring.consume(ready)
    }
    #expect(found == Set(0..<20))
  }

  @Test("a size beyond the kernel's is lowered, no entries at all are refused")
  func sizes() throws {
    let ring = try Ring(entries: 1 << 20)
    #expect(ring.freeEntries == 32768)
    #expect(throws: Errno.invalidArgument) { _ = try Ring(entries: 0) }
  }

  @Test("a ring that cannot be used says so when it is submitted to")
  func unusable() throws {
    // IORING_SETUP_R_DISABLED: a ring that was never enabled.
    let ring = try Ring(entries: 2, flags: SetupFlags(rawValue: 1 << 6))
    let interval = TimerInterval(seconds: 60)
    ring.nextEntry()!.timeout(interval, userData: 1)
    let refusal = Errno(rawValue: EBADFD)
    #expect(throws: refusal) { try ring.submit() }
    #expect(throws: refusal) { try ring.submitAndWait() }
    #expect(throws: refusal) { _ = try ring.submitAndWait(nanoseconds: 1_000_000) }
    #expect(ring.freeEntries == 1, "what was not submitted stays")
  }

  // MARK: Time

  @Test("a timeout completes with ETIME after its time and not before", arguments: [[], SetupFlags.serving])
  func timeout(_ flags: SetupFlags) throws {
    let ring = try Ring(entries: 2, flags: flags)
    let second = TimerInterval(seconds: 1)
    let began = monotonicNanoseconds()
    ring.nextEntry()!.timeout(second, userData: 5)
    try ring.submitAndWait()
    #expect(monotonicNanoseconds() - began >= 1_000_000_000)
    try #require(ring.readyCompletions == 1)
    #expect(ring.completion(0).userData == 5 && ring.completion(0).result == -ETIME)
  }

  @Test("a wait with a limit ends without a completion, and what it submitted goes on")
  func limitedWait() throws {
    let ring = try Ring(entries: 2)
    let second = TimerInterval(seconds: 1)
    ring.nextEntry()!.timeout(second, userData: 5)
    let began = monotonicNanoseconds()
    #expect(try !ring.submitAndWait(nanoseconds: 50_000_000))
    let waited = monotonicNanoseconds() - began
    #expect(waited >= 50_000_000 && ring.freeEntries == 2)
    #expect(try ring.submitAndWait(nanoseconds: 20_000_000_000))
    #expect(monotonicNanoseconds() - began >= 1_000_000_000)
    #expect(ring.completion(0).result == -ETIME)
    // With a completion there, or with nothing to do, it does not wait.
    #expect(try ring.submitAndWait(nanoseconds: 20_000_000_000))
    ring.consume(1)
    #expect(try !ring.submitAndWait(nanoseconds: 0))
  }

  // MARK: Commands

  @Test("a driver's command reaches the driver: a file without one says EOPNOTSUPP", arguments: [false, true])
  func command(_ isSlot: Bool) throws {
    let file = try TestFile(512)
    let ring = try Ring(entries: 2, flags: .largeEntries)
    try ring.registerFiles([file.descriptor.rawValue])
    ring.nextEntry()!.command(
      file: isSlot ? 0 : file.descriptor.rawValue, isSlot: isSlot, operation: 0x2043, payload: UInt64(0), userData: 3)
    try #require(try ring.submitAndWait(nanoseconds: 20_000_000_000))
    #expect(ring.completion(0).userData == 3 && ring.completion(0).result == -EOPNOTSUPP)
  }

  @Test("a command's fields are where the kernel looks for them")
  func layout() {
    let spare = SpareEntry()
    let payload: (UInt64, UInt64) = (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)
    spare.entry.command(file: 9, isSlot: true, operation: 0xc018_7520, payload: payload, address: 77, userData: 88)
    let bytes = UnsafeRawPointer(spare.entry.raw)
    // struct io_uring_sqe: opcode, flags, fd at 4, cmd_op at 8, addr at 16, user_data at 32, cmd at 48.
    #expect(bytes.load(as: UInt8.self) == 46 && bytes.load(fromByteOffset: 1, as: UInt8.self) == 1)
    #expect(bytes.load(fromByteOffset: 4, as: Int32.self) == 9)
    #expect(bytes.load(fromByteOffset: 8, as: UInt32.self) == 0xc018_7520)
    #expect(bytes.load(fromByteOffset: 16, as: UInt64.self) == 77)
    #expect(bytes.load(fromByteOffset: 32, as: UInt64.self) == 88)
    #expect(bytes.load(fromByteOffset: 48, as: UInt64.self) == payload.0)
    #expect(bytes.load(fromByteOffset: 56, as: UInt64.self) == payload.1)
  }
}
