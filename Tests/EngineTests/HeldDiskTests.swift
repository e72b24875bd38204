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

  /// Where the file is open: links in /proc/self, of the process, or of its threads.
  private func openings() -> (process: Int, threads: Int) {
    func count(_ folder: String) -> Int {
      ((try? listDirectory(folder)) ?? []).count { name in
        var buffer = [UInt8](repeating: 0, count: 4096)
        let length = buffer.withUnsafeMutableBytes {
          readlink("\(folder)/\(name)", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
        }
        return length > 0 && String(decoding: buffer[..<length], as: UTF8.self) == scratch("disk")
      }
    }
    let threads = (try? listDirectory("/proc/self/task")) ?? []
    return (count("/proc/self/fd"), threads.reduce(0) { $0 + count("/proc/self/task/\($1)/fd") })
  }

  private func waitForEnd(_ disk: HeldDisk) -> HeldDisk.Progress {
    #expect(Deadline(milliseconds: 10_000).wait(interval: 1) { disk.progress.isOver })
    return disk.progress
  }

  @Test("is read, held by a thread that has it for itself, and closed when it is released")
  func held() throws {
    defer { close(change) }
    let disk = HeldDisk(path: scratch("disk"))
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
    #expect(openings() == (0, 1))
    #expect(disk.release(Deadline(milliseconds: 5000)))
    #expect(openings() == (0, 0) && !disk.progress.isHeld)
    #expect(disk.release(Deadline(milliseconds: 0)), "again")
    // What others have open stays so.
    #expect(fcntl(change, F_GETFD) >= 0)
  }

  @Test("that was released before it was read is not read any more")
  func releasedBefore() throws {
    defer { close(change) }
    let disk = HeldDisk(path: scratch("disk"))
    #expect(disk.release(Deadline(milliseconds: 0)))
    try disk.fill([0..<4096], change: change)
    #expect(!disk.progress.hasBegun && openings() == (0, 0))
  }

  @Test("is not held when nothing of it can be read, and the rest is given up after a few failures")
  func failing() throws {
    defer { close(change) }
    let missing = HeldDisk(path: scratch("missing"))
    try missing.fill([0..<4096], change: change)
    let absent = waitForEnd(missing)
    #expect(absent.lastError == .noEntry && absent.filledBytes == 0 && !absent.isFilled)
    // Beyond its end there is nothing to read.
    let short = HeldDisk(path: scratch("disk"))
    try short.fill([8 << 20..<16 << 20], change: change)
    let progress = waitForEnd(short)
    #expect(progress.filledBytes == 0 && progress.lastError == .ioError, "\(progress)")
    #expect(progress.failedBytes == 4 * 128 << 10, "\(progress)")
    #expect(short.release(Deadline(milliseconds: 5000)) && openings() == (0, 0))
  }

  @Test("with nothing to read is over at once, and not held")
  func empty() throws {
    defer { close(change) }
    let disk = HeldDisk(path: scratch("disk"))
    try disk.fill([], change: change)
    #expect(waitForEnd(disk).isFilled)
    #expect(Deadline(milliseconds: 5000).wait(interval: 1) { !disk.progress.isHeld && openings() == (0, 0) })
    #expect(disk.release(Deadline(milliseconds: 1000)))
  }
}
