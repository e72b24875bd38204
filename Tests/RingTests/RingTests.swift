import CUring
import Glibc
import Posix
import Testing

@testable import Ring

/// The ring against the running kernel.
@Suite(.whereRingsAreAllowed) struct RingTests {
  /// Waits for `count` completions and takes them.
  private func completions(_ count: Int, of ring: borrowing Ring) throws -> [Completion] {
    var found: [Completion] = []
    let deadline = Deadline(milliseconds: 20_000)
    while found.count < count {
      guard try ring.submitAndWait(nanoseconds: deadline.remaining) else { break }
      let ready = ring.readyCompletions
      found += (0..<ready).map { ring.completion($0) }
      ring.consume(ready)
    }
    try #require(found.count == count, "completions: \(found)")
    return found
  }

  /// Nothing else completes.
  private func expectNothingMore(of ring: borrowing Ring) throws {
    let more = try ring.submitAndWait(nanoseconds: 20_000_000)
    #expect(!more, "there is another completion")
  }

  @Test("a read of a file in the table brings its bytes", arguments: [[], SetupFlags.serving, .largeEntries])
  func read(_ flags: SetupFlags) throws {
    let file = try TestFile(20_000)
    let ring = try Ring(entries: 8, flags: flags)
    try ring.registerFiles([file.descriptor.rawValue])
    let (first, second) = (Target(4096), Target(4096))
    ring.nextEntry()!.read(slot: 0, offset: 512, into: first.base, count: 4096, userData: 7)
    // The file ends 1000 bytes after the second read's start.
    ring.nextEntry()!.read(slot: 0, offset: 19_000, into: second.base, count: 4096, userData: .max)
    let results = try completions(2, of: ring)
    let byData = Dictionary(uniqueKeysWithValues: results.map { ($0.userData, $0.result) })
    #expect(byData == [7: 4096, .max: 1000])
    #expect(first.bytes.elementsEqual(file.bytes[512..<4608]))
    #expect(second.bytes[..<1000].elementsEqual(file.bytes[19_000...]))
    #expect(second.bytes[1000...].allSatisfy { $0 == Target.untouched })
    try expectNothingMore(of: ring)
  }

  @Test("a slot without a file, and memory that is not there, are errors of the operation alone")
  func errors() throws {
    let file = try TestFile(4096)
    let ring = try Ring(entries: 8)
    try ring.registerFiles([file.descriptor.rawValue])
    let target = Target(4096)
    ring.nextEntry()!.read(slot: 1, offset: 0, into: target.base, count: 4096, userData: 1)
    ring.nextEntry()!.read(
      slot: 0, offset: 0, into: UnsafeMutableRawPointer(bitPattern: 4096)!, count: 4096, userData: 2)
    ring.nextEntry()!.read(slot: 0, offset: 0, into: target.base, count: 4096, userData: 3)
    let results = try completions(3, of: ring)
    let byData = Dictionary(uniqueKeysWithValues: results.map { ($0.userData, $0.result) })
    #expect(byData == [1: -EBADF, 2: -EFAULT, 3: 4096])
    #expect(target.bytes == file.bytes)
  }

  // MARK: Chains

  /// What a request's read and its answer look like: a quiet read, and what starts only after it.
  private func chain(
    _ ring: borrowing Ring, _ first: Target, _ second: Target, offset: UInt64, count: UInt32, slot: Int32 = 0
  ) {
    ring.nextEntry()!.read(
      slot: slot, offset: offset, into: first.base, count: count, userData: 1, flags: [.link, .quietSuccess])
    ring.nextEntry()!.read(slot: 0, offset: 0, into: second.base, count: 512, userData: 2)
  }

  @Test("a chain whose quiet read succeeds completes once, by what follows", arguments: [[], SetupFlags.serving])
  func wholeChain(_ flags: SetupFlags) throws {
    let file = try TestFile(8192)
    let ring = try Ring(entries: 8, flags: flags)
    try ring.registerFiles([file.descriptor.rawValue])
    let (first, second) = (Target(4096), Target(512))
    chain(ring, first, second, offset: 4096, count: 4096)
    let result = try completions(1, of: ring)[0]
    #expect(result.userData == 2 && result.result == 512)
    #expect(first.bytes.elementsEqual(file.bytes[4096...]) && second.bytes.elementsEqual(file.bytes[..<512]))
    try expectNothingMore(of: ring)
  }

  @Test(
    "a chain whose quiet read comes short or fails completes once, by that read, and nothing follows",
    arguments: [[], SetupFlags.serving])
  func brokenChain(_ flags: SetupFlags) throws {
    let file = try TestFile(8192)
    let ring = try Ring(entries: 8, flags: flags)
    try ring.registerFiles([file.descriptor.rawValue])
    for (offset, slot, expected) in [(UInt64(7000), Int32(0), Int32(1192)), (8192, 0, 0), (0, 9, -EBADF)] {
      let (first, second) = (Target(4096), Target(512))
      chain(ring, first, second, offset: offset, count: 4096, slot: slot)
      let result = try completions(1, of: ring)[0]
      #expect(result.userData == 1 && result.result == expected, "at \(offset), slot \(slot)")
      try expectNothingMore(of: ring)
      #expect(second.isUntouched, "what follows the read has run")
    }
  }

  @Test("a broken chain leaves other chains of the same submission alone")
  func neighbours() throws {
    let file = try TestFile(8192)
    let ring = try Ring(entries: 16, flags: .serving)
    try ring.registerFiles([file.descriptor.rawValue])
    let targets = (0..<6).map { _ in Target(4096) }
    chain(ring, targets[0], targets[1], offset: 0, count: 4096)
    chain(ring, targets[2], targets[3], offset: 8000, count: 4096)
    chain(ring, targets[4], targets[5], offset: 4096, count: 4096)
    let results = try completions(3, of: ring)
    #expect(results.map(\.userData).sorted() == [1, 2, 2])
    #expect(results.first { $0.userData == 1 }?.result == 192)
    #expect(targets[3].isUntouched && !targets[1].isUntouched && !targets[5].isUntouched)
    try expectNothingMore(of: ring)
  }

  // MARK: Registered buffers

  @Test("a read into a registered buffer goes to the place in it that was asked for")
  func registeredBuffer() throws {
    let file = try TestFile(8192)
    let ring = try Ring(entries: 8, flags: .serving)
    try ring.registerFiles([file.descriptor.rawValue])
    try ring.registerEmptyBuffers(4)
    let target = Target(8192)
    // The driver fills slots with pages of requests, whose positions begin at 0; here they are addresses.
    var vector = iovec(iov_base: target.base, iov_len: 8192)
    var tag: UInt64 = 0
    try #require(io_uring_register_buffers_update_tag(ring.ring, 2, &vector, &tag, 1) == 1)
    let position = UInt64(UInt(bitPattern: target.base)) + 1024
    ring.nextEntry()!.readFixed(slot: 0, offset: 512, buffer: 2, position: position, count: 4096, userData: 1)
    #expect(try completions(1, of: ring)[0].result == 4096)
    #expect(target.bytes[1024..<5120].elementsEqual(file.bytes[512..<4608]))
    #expect((target.bytes[..<1024] + target.bytes[5120...]).allSatisfy { $0 == Target.untouched })
  }

  @Test("a read into an empty slot, a slot that is none, or past a buffer's end fails and breaks its chain")
  func wrongBuffers() throws {
    let file = try TestFile(8192)
    let ring = try Ring(entries: 8, flags: .serving)
    try ring.registerFiles([file.descriptor.rawValue])
    try ring.registerEmptyBuffers(4)
    let target = Target(4096)
    var vector = iovec(iov_base: target.base, iov_len: 4096)
    var tag: UInt64 = 0
    try #require(io_uring_register_buffers_update_tag(ring.ring, 2, &vector, &tag, 1) == 1)
    let start = UInt64(UInt(bitPattern: target.base))
    for (buffer, position) in [(Int32(1), start), (4, start), (2, start + 1)] {
      let follower = Target(512)
      ring.nextEntry()!.readFixed(
        slot: 0, offset: 0, buffer: buffer, position: position, count: 4096, userData: 1,
        flags: [.link, .quietSuccess])
      ring.nextEntry()!.read(slot: 0, offset: 0, into: follower.base, count: 512, userData: 2)
      let result = try completions(1, of: ring)[0]
      #expect(result.userData == 1 && result.result == -EFAULT, "buffer \(buffer)")
      try expectNothingMore(of: ring)
      #expect(follower.isUntouched)
    }
    #expect(target.isUntouched)
  }
}
