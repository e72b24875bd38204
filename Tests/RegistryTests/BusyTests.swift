import Glibc
import Posix
import TestRegistry
import Testing

@testable import Registry

/// Registries that ask for time, are away, and come back.
@Suite struct BusyTests {
  @Test("429 and 503 with Retry-After: not asked before", arguments: [429, 503])
  func retryAfter(status: Int) throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness()
    served.registry.fail(.status(status, [("Retry-After", "1")]))
    let outcome = harness.fetch(served.blob, .bytes(0..<1000))
    #expect(served.isRight(outcome), "\(outcome.result)")
    #expect((1000..<2000).contains(outcome.milliseconds), "\(outcome.milliseconds) ms")
    guard case .status(_, status, 1000)? = harness.failures.first else {
      Issue.record("\(harness.failures)")
      return
    }
  }

  @Test("a hasty client gives up after three attempts without a byte, whatever the deadline")
  func haste() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness()
    harness.loop.perform { [client = harness.client] in client.isHasty = true }
    served.registry.failAlways(.status(500))
    let outcome = harness.fetch(served.blob, .bytes(0..<1000), within: nil)
    guard case .status(_, 500, _)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(served.registry.server.requests.count == 3)
    served.registry.failAlways(.cut(after: 300))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))), "each attempt brings some bytes")
    let nobody = BlobLocation(repoBlobURL: "http://127.0.0.1:1/v2/a/blobs", digest: served.blob.digest)
    #expect(harness.fetch(nobody, .bytes(0..<1000)).milliseconds < 2000)
  }

  @Test("Retry-After as a date")
  func retryAfterDate() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let headers = [("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Retry-After", "Sun, 06 Nov 1994 08:49:38 GMT")]
    served.registry.fail(.status(503, headers))
    let outcome = try Harness().fetch(served.blob, .bytes(0..<1000))
    #expect(served.isRight(outcome) && (1000..<2000).contains(outcome.milliseconds), "\(outcome.milliseconds) ms")
  }

  @Test("Retry-After beyond the deadline: no sense in waiting for it")
  func retryAfterTooLate() throws {
    let served = try Served()
    defer { served.registry.stop() }
    served.registry.failAlways(.status(429, [("Retry-After", "3600")]))
    let outcome = try Harness().fetch(served.blob, .bytes(0..<1000), within: 3000)
    guard case .deadline(_, .status(_, 429, 3_600_000)?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(outcome.milliseconds < 1500)
    #expect(served.registry.server.requests.count == 1)
  }

  @Test("after a rest, one request tries first")
  func probe() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness()
    served.registry.fail(.status(503, [("Retry-After", "1")]), .delay(300))
    let first = harness.start(served.blob, .bytes(0..<1000))
    #expect(Deadline(milliseconds: 2000).wait(until: { !harness.troubles.isEmpty }))
    let others = (0..<20).map { _ in harness.start(served.blob, .bytes(0..<1000)) }
    #expect(Deadline(milliseconds: 3000).wait(until: { served.registry.server.requests.count == 2 }))
    usleep(150_000)
    #expect(served.registry.server.requests.count == 2, "the others wait for the answer of the first")
    for outcome in ([first] + others).map({ $0.wait() }) { #expect(served.isRight(outcome), "\(outcome.result)") }
  }

  @Test("nobody listens: attempts with pauses until the deadline, an error that says so")
  func refused() throws {
    let served = try Served()
    served.registry.stop()
    let harness = try Harness()
    let outcome = harness.fetch(served.blob, .bytes(0..<1000), within: 1000)
    guard case .deadline(_, let last?)? = outcome.error, case .connection = last else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect((700..<1500).contains(outcome.milliseconds), "\(outcome.milliseconds) ms")
    #expect((5...40).contains(harness.failures.count), "\(harness.failures.count) attempts")
    #expect("\(outcome.error!)".contains("is the registry up"))
  }

  @Test("a host that is down is asked by one at a time, and everybody goes on when it is back")
  func breaker() throws {
    let served = try Served()
    let port = served.registry.server.port
    served.registry.stop()
    let harness = try Harness()
    let pending = (0..<50).map { _ in harness.start(served.blob, .bytes(0..<1000), within: 10_000) }
    usleep(500_000)
    let before = harness.failures.count
    usleep(1_000_000)
    let attempts = harness.failures.count - before
    #expect((3...20).contains(attempts), "\(attempts) attempts of 50 fetches in a second")
    let again = try TestRegistry(port: port)
    defer { again.stop() }
    again.add(served.blob.digest, served.bytes)
    let start = Deadline(milliseconds: 0)
    for outcome in pending.map({ $0.wait() }) { #expect(served.isRight(outcome), "\(outcome.result)") }
    let milliseconds = (monotonicNanoseconds() - start.nanoseconds) / 1_000_000
    #expect(milliseconds < 2000, "\(milliseconds) ms until all were served")
    let isTold = harness.troubles.contains {
      if case .recovered(_, let failures, _) = $0 { failures >= 5 } else { false }
    }
    #expect(isTold)
  }

  @Test("the budget: retries of one host do not come faster than it says")
  func budget() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness(
      .fast {
        $0.limits.retryBurst = 10
        $0.limits.retriesPerSecond = 10
        $0.limits.retryDelay = 1
        $0.limits.retryDelayMax = 1
      })
    served.registry.failAlways(.status(500))
    let pending = (0..<20).map { _ in harness.start(served.blob, .bytes(0..<1000), within: 4000) }
    usleep(1_500_000)
    let requests = served.registry.server.requests.count
    #expect((30...60).contains(requests), "\(requests) requests: 20, 10 at once, then 10 a second")
    served.registry.failAlways(nil)
    for outcome in pending.map({ $0.wait() }) { #expect(served.isRight(outcome), "\(outcome.result)") }
  }

  @Test("an unknown host")
  func unknownHost() throws {
    let blob = BlobLocation(repoBlobURL: "http://no-such-host.invalid/v2/a/blobs", digest: digest(1))
    let outcome = try Harness().fetch(blob, .bytes(0..<10), within: 1500)
    guard case .deadline(_, .name(let place, _)?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(place.host == "no-such-host.invalid" && outcome.milliseconds < 2500)
    #expect("\(outcome.error!)".contains("correct the host's name"))
  }
}
