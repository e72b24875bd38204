import CLinux
import Glibc
import Posix
import TestSupport
import Testing

@testable import Device

/// With a file in place of a disk: what the kernel does with a disk's pages is for the device tests.
@Suite("A disk that is held open")
struct HeldDiskTests {
  private let scratch: Scratch
  private let change: Int32

  init() throws {
    scratch = try Scratch()
    try scratch.write("disk", [UInt8](repeating: 7, count: 3 << 20))
    change = clinux_eventfd()
  }

  /// The program, which is built into the folder of these tests.
  private static let program: String = {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes {
      readlink("/proc/self/exe", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    let own = String(decoding: buffer[..<max(0, count)], as: UTF8.self)
    return own.split(separator: "/").dropLast().map { "/\($0)" }.joined() + "/warmblk"
  }()

  private func disk(_ name: String = "disk") -> HeldDisk { HeldDisk(path: scratch(name), program: Self.program) }

  /// Processes that have the file open.
  private func openings() -> [Int32] {
    ((try? listDirectory("/proc")) ?? []).compactMap { Int32($0) }.filter { pid in
      ((try? listDirectory("/proc/\(pid)/fd")) ?? []).contains { name in
        var buffer = [UInt8](repeating: 0, count: 4096)
        let length = buffer.withUnsafeMutableBytes {
          readlink("/proc/\(pid)/fd/\(name)", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        return length > 0 && String(decoding: buffer[..<length], as: UTF8.self) == scratch("disk")
      }
    }
  }

  private func waitForEnd(_ disk: HeldDisk) -> HeldDisk.Progress {
    #expect(Deadline(milliseconds: 10_000).wait(interval: 1) { disk.progress.isOver })
    return disk.progress
  }

  @Test("is read, held by a process of its own, and closed when it is released")
  func held() throws {
    defer { close(change) }
    let disk = self.disk()
    #expect(disk.progress == HeldDisk.Progress())
    let ranges = [0..<4096, 8192..<1_000_000, (3 << 20) - 4096..<3 << 20] as [Range<UInt64>]
    try disk.fill(ranges, change: change)
    let progress = waitForEnd(disk)
    let bytes = ranges.reduce(0) { $0 + UInt64($1.count) }
    #expect(progress.isFilled && progress.wantedBytes == bytes && progress.failedBytes == 0 && progress.isHeld)
    #expect(progress.lastError == nil)
    var count: UInt64 = 0
    #expect(Deadline(milliseconds: 1000).wait(interval: 1) { read(change, &count, 8) == 8 })
    usleep(50_000)
    let holders = openings()
    #expect(holders.count == 1 && holders != [getpid()])
    #expect(disk.release(Deadline(milliseconds: 5000)))
    #expect(openings().isEmpty && !disk.progress.isHeld)
    #expect(disk.release(Deadline(milliseconds: 0)), "again")
    // What others have open stays so.
    #expect(fcntl(change, F_GETFD) >= 0)
  }

  @Test("that was released before it was read is not read any more")
  func releasedBefore() throws {
    defer { close(change) }
    let disk = self.disk()
    #expect(disk.release(Deadline(milliseconds: 0)))
    try disk.fill([0..<4096], change: change)
    #expect(!disk.progress.hasBegun && openings().isEmpty)
  }

  @Test("is not held when nothing of it can be read, and the rest is given up after a few failures")
  func failing() throws {
    defer { close(change) }
    let missing = self.disk("missing")
    try missing.fill([0..<4096], change: change)
    let absent = waitForEnd(missing)
    #expect(absent.lastError == .noEntry && absent.filledBytes == 0 && !absent.isFilled)
    // Beyond its end there is nothing to read.
    let short = self.disk()
    try short.fill([8 << 20..<16 << 20], change: change)
    let progress = waitForEnd(short)
    #expect(progress.filledBytes == 0 && progress.lastError == .ioError, "\(progress)")
    #expect(progress.failedBytes == 4 * 128 << 10, "\(progress)")
    #expect(short.release(Deadline(milliseconds: 5000)) && openings().isEmpty)
  }

  @Test("with nothing to read is over at once, and not held")
  func empty() throws {
    defer { close(change) }
    let disk = self.disk()
    try disk.fill([], change: change)
    #expect(waitForEnd(disk).isFilled)
    #expect(Deadline(milliseconds: 5000).wait(interval: 1) { !disk.progress.isHeld && openings().isEmpty })
    #expect(disk.release(Deadline(milliseconds: 1000)))
  }

  @Test("is held without a read of it until it is released")
  func onlyHeld() throws {
    defer { close(change) }
    let disk = self.disk()
    try disk.hold()
    #expect(waitForEnd(disk).isHeld)
    usleep(50_000)
    #expect(openings().count == 1)
    #expect(disk.release(Deadline(milliseconds: 5000)) && openings().isEmpty)
  }

  @Test("is not held any more when its process is killed, and that is said")
  func killed() throws {
    defer { close(change) }
    let disk = self.disk()
    try disk.hold()
    #expect(waitForEnd(disk).isHeld)
    for holder in openings() { kill(holder, SIGKILL) }
    #expect(Deadline(milliseconds: 5000).wait(interval: 1) { !disk.progress.isHeld })
    #expect(disk.release(Deadline(milliseconds: 5000)))
  }

  @Test("that no program can be started for says so")
  func noProgram() throws {
    defer { close(change) }
    let disk = HeldDisk(path: scratch("disk"), program: scratch("nothing"))
    try disk.fill([0..<4096], change: change)
    let progress = waitForEnd(disk)
    #expect(progress.lastError == .noEntry && !progress.isHeld, "\(progress)")
    #expect(disk.release(Deadline(milliseconds: 5000)))
  }

  @Test("is let go by its process when whoever started that is gone, and when what it is told is no order")
  func alone() throws {
    defer { close(change) }
    for order in [nil, [], [1, 0], [0, 1 << 60], [0, 1, 8192, 4096]] as [[UInt64]?] {
      var pair = try SocketPair()
      let ours = pair.first.take()!
      let process: pid_t
      do {
        let theirs = pair.second.take()!
        let stream = Spawn.Stream.descriptor(theirs.rawValue)
        process = try Spawn.start(
          [Self.program, DiskHolder.command, scratch("disk")], input: stream, output: stream, .process)
      }
      if let order { NumberChannel.send(order, ours.rawValue) }
      if order == [1, 0] {
        let report = try #require(NumberChannel.receive(DiskHolder.Report.count, ours.rawValue))
        #expect(DiskHolder.Report(report).isHeld && openings() == [process])
      }
      _ = consume ours
      var status: Int32 = -1
      #expect(Deadline(milliseconds: 5000).wait(interval: 1) { waitpid(process, &status, WNOHANG) == process })
      #expect(status == 0, "\(order.map { "\($0)" } ?? "nothing")")
    }
  }
}
