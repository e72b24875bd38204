import Glibc
import Posix
import Synchronization
import Testing

/// A thread that reads a disk again and again, 4 KiB at a time and past the page cache, compares what it gets, and knows how
/// long it had to wait.
final class SteadyReader: Sendable {
  private struct State {
    var reads = 0
    var longest: UInt64 = 0
    var failure: String?
    var isStopped = false
  }

  private let state: Shared
  private let thread: Posix.Thread

  private final class Shared: Sendable {
    let state = Mutex(State())
  }

  init(_ disk: Disk, _ content: RawContent) throws {
    let shared = Shared()
    state = shared
    let file = try Descriptor.open(disk.path, O_RDONLY | Disk.direct).release()
    thread = try Posix.Thread(name: "steady") {
      let reader = DiskReader(Descriptor(owning: file))
      var block = 0
      while !shared.state.withLock({ $0.isStopped || $0.failure != nil }) {
        let offset = block * 4096
        block = (block + 7919) % (content.count / 4096)
        let began = monotonicNanoseconds()
        let result = Result { try reader.matches(content, 4096, at: UInt64(offset)) }
        let took = monotonicNanoseconds() - began
        shared.state.withLock { state in
          state.reads += 1
          state.longest = max(state.longest, took)
          switch result {
          case .success(true): break
          case .success(false): state.failure = "wrong bytes at \(offset)"
          case .failure(let error): state.failure = "at \(offset): \(error)"
          }
        }
      }
    }
  }

  /// Waits until so many more reads are done.
  func wait(reads: Int, seconds: Double) throws {
    let before = state.state.withLock(\.reads)
    let isDone = Deadline(milliseconds: Int(seconds * 1000)).wait(interval: 1) {
      state.state.withLock { $0.reads >= before + reads || $0.failure != nil }
    }
    try #require(isDone, "\(reads) reads are not done in \(seconds) s")
    #expect(state.state.withLock(\.failure) == nil)
  }

  /// The longest that a read took since the last call, milliseconds.
  func longest() -> Double {
    state.state.withLock { state in
      defer { state.longest = 0 }
      return Double(state.longest) / 1e6
    }
  }

  /// Ends it; what failed must be nothing.
  func stop() throws {
    state.state.withLock { $0.isStopped = true }
    try #require(thread.join(Deadline(milliseconds: 20_000)), "a read does not end")
    #expect(state.state.withLock(\.failure) == nil)
  }
}
