import Posix
import TestRegistry
import Testing

@testable import Registry

/// Answers that are not the data: what the caller sees, and within which time.
@Suite struct BadAnswerTests {
  let served: Served
  let harness: Harness

  init() throws {
    served = try Served()
    harness = try Harness(
      .fast {
        $0.limits.firstByte = 500
        $0.limits.stallSeconds = 1
      })
  }

  /// One fetch that must be right after the trouble, with these errors on the way.
  private func expectRecovery(
    _ fault: TestRegistry.Fault, within milliseconds: Int, _ isExpected: (RegistryError) -> Bool,
    _ location: SourceLocation = #_sourceLocation
  ) {
    defer { served.registry.stop() }
    served.registry.fail(fault)
    let outcome = harness.fetch(served.blob, .bytes(1000..<90_000))
    #expect(served.isRight(outcome), "\(outcome.result)", sourceLocation: location)
    #expect(outcome.milliseconds < milliseconds, sourceLocation: location)
    let failures = harness.failures
    #expect(failures.count == 1 && failures.allSatisfy(isExpected), "\(failures)", sourceLocation: location)
    #expect(outcome.success?.attempts == 2, sourceLocation: location)
  }

  /// One fetch that must fail like this, at once.
  private func expectFailure(
    _ fault: TestRegistry.Fault, _ range: FetchRange = .bytes(1000..<90_000),
    _ location: SourceLocation = #_sourceLocation, _ isExpected: (RegistryError) -> Bool
  ) {
    defer { served.registry.stop() }
    served.registry.failAlways(fault)
    let outcome = harness.fetch(served.blob, range)
    #expect(outcome.error.map(isExpected) ?? false, "\(outcome.result)", sourceLocation: location)
    #expect(outcome.milliseconds < 1500, "\(outcome.milliseconds) ms", sourceLocation: location)
    #expect(outcome.error?.isRetryable == false, sourceLocation: location)
    let text = "\(outcome.error!)"
    #expect(text.contains(served.blob.digest) && text.contains("127.0.0.1:"), "\(text)", sourceLocation: location)
  }

  @Test("reset at byte N: the rest is fetched, nothing twice")
  func reset() {
    expectRecovery(.reset(after: 40_000), within: 1500) { if case .transfer = $0 { true } else { false } }
    let ranges = served.registry.server.requests.map { $0.headers["range"] }
    #expect(ranges[0] == "bytes=1000-89999")
    // How much of it came through before the reset is the network's affair.
    #expect(ranges.count == 2 && ranges[1]!.hasSuffix("-89999") && ranges[1] != ranges[0])
  }

  @Test("short body: the rest is fetched")
  func shortBody() {
    expectRecovery(.cut(after: 12_345), within: 1500) { error in
      if case .shortBody(_, 89_000, 12_345) = error { true } else { false }
    }
    #expect(served.registry.server.requests.map { $0.headers["range"] } == ["bytes=1000-89999", "bytes=13345-89999"])
  }

  @Test("reset before the first byte: asked again")
  func resetAtOnce() {
    expectRecovery(.reset(after: -1), within: 1500) { if case .transfer = $0 { true } else { false } }
  }

  @Test("stall before the first byte: given up after the limit, asked again")
  func stallAtOnce() {
    expectRecovery(.stall(after: -1), within: 2000) { error in
      if case .timeout(_, .firstByte, 500) = error { true } else { false }
    }
  }

  @Test("stall in the body: given up after the limit, the rest is fetched")
  func stall() {
    expectRecovery(.stall(after: 30_000), within: 3000) { error in
      if case .timeout(_, .stalled, 1000) = error { true } else { false }
    }
    #expect(served.registry.server.requests.last?.headers["range"] == "bytes=31000-89999")
  }

  @Test("one byte per second: given up after the limit, the rest is fetched")
  func slow() {
    expectRecovery(.slow(bytesPerSecond: 1), within: 3000) { error in
      if case .timeout(_, .stalled, 1000) = error { true } else { false }
    }
  }

  @Test("a server that stalls for ever: the deadline holds")
  func stallForEver() {
    defer { served.registry.stop() }
    served.registry.failAlways(.stall(after: -1))
    let outcome = harness.fetch(served.blob, .bytes(0..<10), within: 1500)
    guard case .deadline(_, .timeout?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect((1500..<2200).contains(outcome.milliseconds))
    #expect(outcome.error?.isRetryable == true)
  }

  @Test("less than was asked for, and said so: the rest is fetched, which is no failure")
  func part() {
    defer { served.registry.stop() }
    served.registry.fail(.part(10_000), .part(1), .part(20_000))
    let outcome = harness.fetch(served.blob, .bytes(1000..<90_000))
    #expect(served.isRight(outcome) && outcome.success?.attempts == 1)
    #expect(served.registry.server.requests.count == 4 && harness.troubles.isEmpty)
  }

  @Test("a body shorter than its Content-Range: not believed, asked again")
  func bodyAgainstRange() {
    expectRecovery(.shortBody(50), within: 1500) { if case .wrongRange = $0 { true } else { false } }
  }

  @Test(
    "a wrong Content-Range: not data, asked again",
    arguments: [
      "bytes 0-88999/100000", "bytes 1001-89999/100000", "bytes 1000-90000/100000", "bytes 1000-89999", "items 1-2/3",
      "bytes 90000-1000/100000", "bytes 1000-99999999999999999999/100000", nil,
    ])
  func contentRange(value: String?) {
    expectRecovery(.contentRange(value), within: 1500) { error in
      if case .wrongRange(_, "bytes=1000-89999", let got) = error {
        got?.hasPrefix(value ?? "") ?? (value == nil)
      } else {
        false
      }
    }
  }

  @Test("gzip'ed: not data, asked again")
  func encoded() {
    expectRecovery(.encoded("gzip"), within: 1500) { error in
      if case .encoded(_, "gzip") = error { true } else { false }
    }
  }

  @Test("several parts: not data, asked again")
  func multipart() {
    let fault = TestRegistry.Fault.change { $1.set("Content-Type", "multipart/byteranges; boundary=x") }
    expectRecovery(fault, within: 1500) { if case .multipart = $0 { true } else { false } }
  }

  @Test("200 for 206: the wanted part is taken when it is near")
  func ignoresRange() {
    defer { served.registry.stop() }
    served.registry.fail(.ignoresRange(served.bytes))
    let outcome = harness.fetch(served.blob, .bytes(1000..<90_000))
    #expect(served.isRight(outcome) && harness.troubles.isEmpty, "\(outcome.result)")
  }

  @Test("200 for 206, chunked: the length is not known, so it is an error")
  func ignoresRangeWithoutLength() {
    let bytes = served.bytes
    expectFailure(
      .change { _, reply in
        reply = TestReply(200, body: bytes)
        reply.isChunked = true
      }
    ) { if case .rangeIgnored(_, 1000, nil) = $0 { true } else { false } }
  }

  @Test("200 for 206, far from the beginning: an error that says so")
  func ignoresFarRange() throws {
    defer { served.registry.stop() }
    served.registry.failAlways(.ignoresRange(served.bytes))
    let harness = try Harness(.fast { $0.limits.skippedBytes = 999 })
    let outcome = harness.fetch(served.blob, .bytes(1000..<90_000))
    guard case .rangeIgnored(_, 1000, 100_000)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect("\(outcome.error!)".contains("ignores ranges"))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(999..<5000))))
  }

  @Test("200 for the end: asked again by numbers, and not like that any more")
  func ignoresSuffix() {
    defer { served.registry.stop() }
    let second = digest(2)
    served.registry.add(second, served.bytes)
    let bytes = served.bytes
    served.registry.failAlways(
      .change { request, reply in
        if request.headers["range"]?.hasPrefix("bytes=-") == true { reply = TestReply(200, body: bytes) }
      })
    #expect(served.isRight(harness.fetch(served.blob, .suffix(1000))))
    #expect(served.registry.server.requests.map { $0.headers["range"] } == ["bytes=-1000", "bytes=99000-99999"])
    served.registry.clearCounts()
    let other = BlobLocation(repoBlobURL: served.blob.repoBlobURL, digest: second)
    #expect(served.isRight(harness.fetch(other, .suffix(1000))))
    #expect(served.registry.server.requests.map { $0.headers["range"] } == ["bytes=0-0", "bytes=99000-99999"])
    #expect(harness.troubles.isEmpty)
  }

  @Test("416: the blob is shorter than it should be")
  func unsatisfiable() {
    expectFailure(.none, .bytes(100_000..<100_001)) { error in
      if case .outsideBlob(_, "bytes=100000-100000", 100_000) = error { true } else { false }
    }
  }

  @Test("a range that is half outside is as bad")
  func halfOutside() {
    expectFailure(.none, .bytes(99_000..<100_001)) { error in
      if case .outsideBlob(_, _, 100_000) = error { true } else { false }
    }
  }

  @Test("416 for a range that the blob has: not believed, asked again")
  func wrongUnsatisfiable() {
    expectRecovery(.status(416, [("Content-Range", "bytes */100000")]), within: 1500) { error in
      if case .wrongRange = error { true } else { false }
    }
  }

  @Test("another size than before")
  func sizeChanged() {
    let digest = served.blob.digest
    harness.onLoop { $0.setSize(100_001, ofDigest: digest) }
    expectFailure(.none) { error in
      if case .sizeChanged(_, 100_001, 100_000) = error { true } else { false }
    }
  }

  @Test("404")
  func notFound() { expectFailure(.status(404)) { if case .notFound = $0 { true } else { false } } }

  @Test("403")
  func forbidden() { expectFailure(.status(403)) { if case .forbidden = $0 { true } else { false } } }

  @Test("401 without a challenge")
  func unauthorized() {
    expectFailure(.status(401)) { error in
      if case .unauthorized(_, let credentials) = error { credentials.contains("no challenge") } else { false }
    }
  }

  @Test("400, 405, 501 … : no data")
  func otherStatus() { expectFailure(.status(400)) { if case .status(_, 400, nil) = $0 { true } else { false } } }

  @Test("500, 502, 504: asked again", arguments: [500, 502, 504])
  func serverError(status: Int) {
    expectRecovery(.status(status), within: 1500) { if case .status(_, status, nil) = $0 { true } else { false } }
  }

  @Test("wrong bytes are for those who know the checksums: they are what was sent")
  func wrongBytes() {
    defer { served.registry.stop() }
    served.registry.fail(.wrongBytes)
    let outcome = harness.fetch(served.blob, .bytes(0..<1000))
    #expect(outcome.success != nil && outcome.bytes == served.bytes[..<1000].map { ~$0 })
  }

  @Test("without a deadline, what somebody can mend is waited for")
  func waitsForMending() {
    defer { served.registry.stop() }
    served.registry.fail(.status(404), .status(401), .status(403), .status(500), .redirect("ftp://elsewhere/"))
    let outcome = harness.fetch(served.blob, .bytes(0..<1000), within: nil)
    #expect(served.isRight(outcome) && outcome.success?.attempts == 6, "\(outcome.result)")
    guard case .outsideBlob? = harness.fetch(served.blob, .bytes(0..<100_001), within: nil).error else {
      Issue.record("a range that the blob does not have is waited for")
      return
    }
  }
}
