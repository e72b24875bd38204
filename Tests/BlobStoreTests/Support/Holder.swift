import Glibc
import Posix
import Synchronization
import Testing
import TestSupport

/// Another process that has a map open and claims chunks of it.
final class Holder: Sendable {
  private let pid: pid_t
  private let isKilled = Atomic<Bool>(false)

  /// Returns when the chunks are claimed.
  init(_ map: String, chunks: Range<Int>) throws {
    let program = """
      import fcntl, os, struct, sys, time
      file = os.open(sys.argv[1], os.O_RDWR)
      fcntl.flock(file, fcntl.LOCK_SH)
      lock = struct.pack("hhqqi", fcntl.F_WRLCK, 0, int(sys.argv[2]), int(sys.argv[3]), 0)
      fcntl.fcntl(file, 37, lock)  # F_OFD_SETLK
      os.write(1, b"claimed\\n")
      time.sleep(120)
      """
    var pipe = try Pipe()
    let reading = pipe.reading.take()!
    let writing = pipe.writing.take()!
    pid = try spawn(
      ["python3", "-c", program, map, "\(chunks.lowerBound)", "\(chunks.count)"], output: writing.rawValue)
    _ = consume writing
    var word = [UInt8](repeating: 0, count: 8)
    let count = try word.withUnsafeMutableBytes { try reading.read(into: $0) }
    try #require(count == 8, "the other process did not get its claims")
  }

  deinit { kill() }

  func stop() { _ = Glibc.kill(pid, SIGSTOP) }

  /// Once: the number may be another process's afterwards.
  func kill() {
    if isKilled.exchange(true, ordering: .relaxed) { return }
    _ = Glibc.kill(pid, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
  }
}

extension FakeOrigin.Answer {
  /// Anything that may happen to a request of `size` bytes, more good than bad.
  static func random(_ random: inout SplitMix, size: Int) -> Self {
    var answer = FakeOrigin.Answer(
      delay: Int.random(in: 0...20, using: &random), step: Int.random(in: 1000...200_000, using: &random),
      pause: Int.random(in: 0...3, using: &random))
    switch Int.random(in: 0..<10, using: &random) {
    case 0: answer.isSilent = true
    case 1:
      answer.isSilent = true
      answer.ignoresDeadline = true
    case 2: answer.cut = (Int.random(in: 0...size, using: &random), .notFound(FakeOrigin.place))
    case 3: answer.cut = (Int.random(in: 0..<size, using: &random), nil)
    case 4: answer.cut = (Int.random(in: 0...size, using: &random), .deadline(FakeOrigin.place, last: nil))
    case 5: answer.cut = (0, .cancelled)
    default: break
    }
    return answer
  }
}
