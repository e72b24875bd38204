import Posix
import TestSupport
import Testing

@testable import Host

@Suite("What a new server says of a prefetch")
struct HeldDiskStatusTests {
  @Test("is nothing, but for a disk that was held for its page cache")
  func afterHandOver() throws {
    var status = WarmStatus(state: .warm)
    status.fetchedBytes = 7
    #expect(status.afterHandOver == nil)
    status.level = .pageCache
    status.pageCache = WarmStatus.PageCache(
      wantedBytes: 4096, filledBytes: 4096, failedBytes: 0, milliseconds: 3, isHeld: false)
    #expect(status.afterHandOver == nil)
    status.pageCache?.isHeld = true
    let next = try #require(status.afterHandOver)
    #expect(next.state == .held && next.pageCache?.isHeld == true && next.percent == 0 && next.fetchedBytes == 0)
    // And so does the one after that.
    #expect(next.afterHandOver == next)
  }

  @Test("of a dead server's disk the list does not say that it is held")
  func dead() throws {
    let scratch = try Scratch()
    let directory = RunDirectory(path: scratch.path)
    try directory.write(
      DeviceState(
        id: 7, phase: .serving, server: ProcessIdentity(pid: 1 << 22, startTime: 1), config: "/i/image.json",
        layers: [], size: 1 << 20, queues: 2, depth: 64, dataPath: .copy, created: 0))
    var status = WarmStatus(state: .warm)
    status.pageCache = WarmStatus.PageCache(
      wantedBytes: 4096, filledBytes: 4096, failedBytes: 0, milliseconds: 3, isHeld: true)
    status.write(directory.warmPath(7))
    let row = try #require(try DeviceListing.all(directory, foreign: false).first)
    #expect(row.state == .dead && row.warm?.pageCache?.isHeld == false)
  }
}
