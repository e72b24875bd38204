import Posix
import TestRegistry
import Testing

@testable import Registry

@Suite struct FetchTests {
  @Test("a range is what the registry has there, in one request")
  func range() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness()
    for range: Range<UInt64> in [0..<1, 0..<100_000, 99_999..<100_000, 12_345..<67_890] {
      let outcome = harness.fetch(served.blob, .bytes(range))
      #expect(served.isRight(outcome) && outcome.success?.range == range, "\(range): \(outcome.result)")
      #expect(outcome.success?.totalSize == 100_000 && outcome.success?.attempts == 1)
      #expect(outcome.progress.last == range.count && outcome.progress == outcome.progress.sorted())
    }
    #expect(served.registry.server.requests.count == 4)
    #expect(served.registry.server.connections == 1, "the connection is used again")
    #expect(served.registry.server.requests.allSatisfy { $0.headers["accept-encoding"] == "identity" })
    #expect(harness.troubles.isEmpty)
  }

  @Test("the URL is the same with and without a slash at its end")
  func slash() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness()
    var blob = served.blob
    blob.repoBlobURL += "/"
    #expect(served.isRight(harness.fetch(blob, .bytes(0..<10))))
    #expect(served.registry.server.requests[0].path == "/v2/images/test/blobs/\(blob.digest)")
  }

  @Test("the end of a blob of unknown size is one request, and says the size", arguments: [1, 1000, 100_000, 250_000])
  func suffix(count: Int) throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness()
    let outcome = harness.fetch(served.blob, .suffix(count))
    #expect(served.isRight(outcome) && outcome.success?.totalSize == 100_000)
    #expect(outcome.success?.range == UInt64(max(0, 100_000 - count))..<100_000)
    #expect(served.registry.server.requests.count == 1)
    // The size is known now.
    #expect(served.isRight(harness.fetch(served.blob, .suffix(77))))
    #expect(served.registry.server.requests[1].headers["range"] == "bytes=99923-99999")
  }

  @Test("many fetches share few connections")
  func parallel() throws {
    let served = try Served(4 << 20)
    defer { served.registry.stop() }
    let harness = try Harness(.fast { $0.connectionsPerHost = 4 })
    let pending = (0..<64).map { number in
      harness.start(served.blob, .bytes(UInt64(number) << 16..<UInt64(number + 1) << 16))
    }
    for (number, outcome) in pending.map({ $0.wait() }).enumerated() {
      #expect(served.isRight(outcome), "fetch \(number): \(outcome.result)")
    }
    #expect(served.registry.server.connections <= 4)
    #expect(served.registry.server.requests.count == 64)
    #expect(harness.onLoop { $0.count } == 0)
  }

  @Test("a server that closes after each answer is as good")
  func closing() throws {
    let served = try Served()
    defer { served.registry.stop() }
    served.registry.setCloses(true)
    let harness = try Harness()
    for number: UInt64 in 0..<8 {
      #expect(served.isRight(harness.fetch(served.blob, .bytes(number * 10_000..<(number + 1) * 10_000))))
    }
    #expect(served.registry.server.connections == 8)
    #expect(harness.troubles.isEmpty)
  }

  @Test("a chunked answer without Content-Length is as good")
  func chunked() throws {
    let served = try Served()
    defer { served.registry.stop() }
    served.registry.failAlways(.change { $1.isChunked = true })
    let harness = try Harness()
    #expect(served.isRight(harness.fetch(served.blob, .bytes(5..<50_000))))
  }

  @Test("what cannot be asked for fails at once, without a request")
  func invalid() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let harness = try Harness()
    var blob = served.blob
    for digest in ["", "sha256:", "sha256:" + String(repeating: "A", count: 64), "md5:00", "sha256:../../x"] {
      blob.digest = digest
      guard case .invalidBlob? = harness.fetch(blob, .bytes(0..<1)).error else {
        Issue.record("the digest \(digest) was taken")
        continue
      }
    }
    blob = served.blob
    for url in ["", "ftp://host/v2/a/blobs", "http://", "http://user@host/v2/a/blobs", "http://a b/", "//host/v2"] {
      blob.repoBlobURL = url
      guard case .invalidBlob? = harness.fetch(blob, .bytes(0..<1)).error else {
        Issue.record("the URL \(url) was taken")
        continue
      }
    }
    for range: FetchRange in [.bytes(5..<5), .suffix(0), .suffix(-1), .bytes(0..<UInt64.max)] {
      guard case .invalidRange? = harness.fetch(served.blob, range).error else {
        Issue.record("the range \(range) was taken")
        continue
      }
    }
    #expect(served.registry.server.requests.isEmpty)
  }
}
