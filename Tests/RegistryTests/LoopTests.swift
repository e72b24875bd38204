import Glibc
import Posix
import Synchronization
import TestRegistry
import Testing
import TestSupport

@testable import Registry

@Suite struct LoopTests {
  private final class Log: Sendable {
    let entries = Mutex<[Int]>([])
    func add(_ entry: Int) { entries.withLock { $0.append(entry) } }
    var all: [Int] { entries.withLock { $0 } }
  }

  @Test("what is posted runs in order, on the loop's thread")
  func order() throws {
    let loop = try NetworkLoop(name: "test")
    let log = Log()
    for number in 0..<1000 { loop.perform { log.add(loop.isCurrent ? number : -1) } }
    #expect(Deadline(milliseconds: 5000).wait(until: { log.all.count == 1000 }))
    #expect(log.all == Array(0..<1000) && !loop.isCurrent)
    #expect(loop.stop() && loop.stop())
    loop.perform { log.add(1000) }
    usleep(20_000)
    #expect(log.all.count == 1000, "nothing runs after the stop")
  }

  @Test("timers run in time, from any thread")
  func timers() throws {
    let loop = try NetworkLoop(name: "test")
    defer { loop.stop() }
    let log = Log()
    let start = monotonicNanoseconds()
    loop.after(milliseconds: 60) { log.add(60) }
    loop.perform {
      loop.after(milliseconds: 20) { log.add(20) }
      loop.after(milliseconds: 0) { log.add(0) }
    }
    #expect(Deadline(milliseconds: 5000).wait(interval: 1, until: { log.all.count == 3 }))
    #expect(log.all == [0, 20, 60])
    #expect((60..<1000).contains((monotonicNanoseconds() - start) / 1_000_000))
  }

  @Test("a stop ends every fetch with .cancelled, once, in whatever state it is")
  func stop() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness(.fast { $0.connectionsPerHost = 2 })
    served.registry.failAlways(.stall(after: 100))
    let pending = (0..<8).map { _ in harness.start(served.blob, .bytes(0..<1000), within: nil) }
    #expect(Deadline(milliseconds: 5000).wait(until: { pending.contains { !$0.progress.isEmpty } }))
    let start = monotonicNanoseconds()
    #expect(harness.loop.stop())
    #expect((monotonicNanoseconds() - start) / 1_000_000 < 1000)
    for fetch in pending { #expect(fetch.isDone && fetch.completions == 1 && fetch.wait().error == .cancelled) }
  }

  @Test("a cancelled fetch completes once, and its buffer is left alone")
  func cancel() throws {
    let served = try Served(1 << 20)
    defer { served.registry.stop() }
    let harness = try Harness()
    var random = SplitMix.announced("cancel")
    for _ in 0..<200 {
      let pending = harness.start(served.blob, .bytes(0..<1 << 20))
      usleep(UInt32.random(in: 0..<3000, using: &random))
      harness.onLoop { client in pending.handle.map { client.cancel($0) } }
      let outcome = pending.wait()
      let bytes = pending.wait().bytes
      #expect(outcome.error == .cancelled || served.isRight(outcome))
      if outcome.error != nil { #expect(outcome.bytes == bytes) }
      #expect(pending.completions == 1)
    }
    #expect(harness.onLoop { $0.count } == 0)
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1 << 20))), "places are given back")
  }

  @Test("a fetch cancelled by its own progress completes once")
  func cancelInProgress() throws {
    let served = try Served(1 << 20)
    defer { served.registry.stop() }
    let harness = try Harness()
    let log = Log()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 16)
    defer { buffer.deallocate() }
    let shared = Unchecked(buffer)
    let blob = served.blob
    harness.loop.perform { [client = harness.client] in
      var handle: FetchHandle?
      handle = client.fetch(
        blob, .bytes(0..<1 << 20), into: shared.value, deadline: nil,
        progress: { _ in client.cancel(handle!) },
        completion: { result in log.add(result == .failure(.cancelled) ? 1 : 0) })
    }
    #expect(Deadline(milliseconds: 5000).wait(until: { log.all == [1] }))
    usleep(50_000)
    #expect(log.all == [1])
  }

  @Test("loops of a process share nothing")
  func several() throws {
    let served = try Served()
    defer { served.registry.stop() }
    for _ in 0..<20 {
      let harness = try Harness()
      #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    }
  }
}
