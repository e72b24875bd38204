import Glibc
import Posix
import Testing

/// A process that reads a disk until it cannot.
struct Reader {
  let program: Program

  /// One read after another; the shell holds the disk open in between.
  init(_ disk: Disk) throws {
    let script = "exec 3<$0; while dd if=$0 of=/dev/null bs=4k iflag=direct status=none; do :; done; exit 7"
    program = try Program(["sh", "-c", script, disk.path])
    try waitForReads(disk)
  }

  /// Many at a time: `depth` of each of two jobs.
  init(manyAtOnce disk: Disk, depth: Int = 64) throws {
    program = try Program([
      "fio", "--name=read", "--filename=\(disk.path)", "--rw=randread", "--bs=4k", "--ioengine=io_uring",
      "--direct=1",
      "--iodepth=\(depth)", "--thread", "--numjobs=2", "--time_based", "--runtime=120",
    ])
    try waitForReads(disk)
  }

  private func waitForReads(_ disk: Disk) throws {
    let before = disk.reads
    let started = Deadline(milliseconds: 30_000).wait(interval: 5) {
      disk.reads > before + 200 || !program.isRunning
    }
    try #require(started && program.isRunning, "nothing is read")
  }

  /// Waits for the error that ends it, `seconds` at most.
  @discardableResult
  func waitForError(seconds: Double) throws -> Double {
    let began = monotonicNanoseconds()
    let outcome = try program.wait(seconds: seconds)
    #expect(!outcome.wasLate && outcome.status != 0, "the reader should have got an error: \(outcome)")
    return Double(monotonicNanoseconds() - began) / 1e9
  }

  /// Ends it while it reads; it must not have had an error.
  func stop(_ disk: Disk) throws {
    try waitForReads(disk)
    // The other signals are blocked in what a test starts: threads that wait for work have them blocked.
    program.signal(SIGKILL)
    let outcome = try program.wait(seconds: 20)
    #expect(!(outcome.output + outcome.errors).contains("error"), "\(outcome)")
  }
}
