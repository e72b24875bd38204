import Glibc
import Posix
import TestRegistry
import Testing

@testable import Registry

/// A registry on 127.0.0.1 that keeps its blobs on 127.0.0.2.
@Suite struct RedirectTests {
  let served: Served
  let store: TestRegistry
  let harness: Harness

  init() throws {
    served = try Served()
    store = try TestRegistry(host: "127.0.0.2")
    store.add(served.blob.digest, served.bytes)
    harness = try Harness()
  }

  private func stop() {
    served.registry.stop()
    store.stop()
  }

  private func target(_ query: String = "") -> String { "\(store.server.url)/store/\(served.blob.digest)\(query)" }

  @Test(
    "a redirect is followed, and remembered for the next ranges and their retries",
    arguments: [301, 302, 303, 307, 308])
  func remembered(status: Int) {
    defer { stop() }
    served.registry.failAlways(.redirect(target("?sig=secret"), status: status))
    for number: UInt64 in 0..<5 {
      let outcome = harness.fetch(served.blob, .bytes(number * 1000..<(number + 1) * 1000))
      #expect(served.isRight(outcome) && outcome.success?.host == "127.0.0.2:\(store.server.port)")
    }
    #expect(served.registry.server.requests.count == 1 && store.server.requests.count == 5)
    #expect(harness.troubles.isEmpty)
  }

  @Test("credentials do not follow to another host, port or name", arguments: ["127.0.0.2", "localhost", "port"])
  func credentials(kind: String) throws {
    defer { stop() }
    let tokens = try TokenServer()
    let other = try TestRegistry()
    defer { tokens.stop(); other.stop() }
    other.add(served.blob.digest, served.bytes)
    let location =
      switch kind {
      case "port": "\(other.server.url)/\(served.blob.digest)"
      case "localhost": "http://localhost:\(served.registry.server.port)/v2/elsewhere/\(served.blob.digest)"
      default: target()
      }
    let (access, bytes) = (tokens.access, served.bytes)
    served.registry.guardAccess { request in
      if request.path.hasPrefix("/v2/elsewhere") { return TestRegistry.content(bytes, request) }
      return access(request) ?? TestReply(307, headers: [("Location", location)])
    }
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    let all = store.server.requests + other.server.requests + served.registry.server.requests
    let shown = all.filter { $0.headers["authorization"] != nil }
    #expect(shown.count == 1 && shown[0].headers["host"] == "127.0.0.1:\(served.registry.server.port)")
    #expect(all.filter { $0.path.hasSuffix(served.blob.digest) }.count == 3)
  }

  @Test("a redirect within the host keeps the credentials")
  func sameHost() throws {
    defer { stop() }
    let tokens = try TokenServer()
    defer { tokens.stop() }
    let (access, bytes) = (tokens.access, served.bytes)
    served.registry.guardAccess { request in
      access(request)
        ?? (request.path.hasPrefix("/elsewhere")
          ? TestRegistry.content(bytes, request)
          : TestReply(302, headers: [("Location", "/elsewhere?x=1")]))
    }
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
  }

  @Test("403 on an expired URL: resolved anew at once", arguments: [400, 401, 403, 404, 410])
  func expired(status: Int) {
    defer { stop() }
    served.registry.failAlways(.redirect(target("?sig=1")))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    served.registry.failAlways(.redirect(target("?sig=2")))
    store.failAlways(.change { request, reply in if request.query == "sig=1" { reply = TestReply(status) } })
    let outcome = harness.fetch(served.blob, .bytes(1000..<2000))
    #expect(served.isRight(outcome) && outcome.success?.attempts == 1 && outcome.milliseconds < 1500)
    #expect(served.registry.server.requests.count == 2 && store.server.requests.count == 3)
  }

  @Test("403 on every target: an error at once")
  func neverAllowed() {
    defer { stop() }
    served.registry.failAlways(.redirect(target("?sig=secret")))
    store.failAlways(.status(403))
    let outcome = harness.fetch(served.blob, .bytes(0..<1000))
    guard case .forbidden(let place, _)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(place.host == "127.0.0.2:\(store.server.port)" && outcome.milliseconds < 1500)
    #expect(!"\(outcome.error!)".contains("secret"), "signatures are secrets")
    #expect(store.server.requests.count == 2)
  }

  @Test("a URL is not used after the end that it says")
  func signedUntil() {
    defer { stop() }
    let now = wallClockSeconds()
    served.registry.failAlways(.redirect(target("?Expires=\(now + 4)&Signature=x")))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    #expect(served.registry.server.requests.count == 1)
    usleep(3_200_000)
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    #expect(served.registry.server.requests.count == 2)
  }

  @Test("a target that is down: the registry is asked for another one")
  func targetDown() throws {
    defer { stop() }
    let dead = try TestRegistry(host: "127.0.0.3")
    dead.stop()
    served.registry.fail(.redirect("\(dead.server.url)/x"))
    served.registry.failAlways(.redirect(target()))
    let outcome = harness.fetch(served.blob, .bytes(0..<1000))
    #expect(served.isRight(outcome) && outcome.success?.attempts == 2)
    guard case .connection(let place, _)? = harness.failures.first else {
      Issue.record("\(harness.failures)")
      return
    }
    #expect(place.host == "127.0.0.3:\(dead.server.port)")
  }

  @Test("in a circle: an error at once")
  func circle() {
    defer { stop() }
    let back = "\(served.blob.repoBlobURL)/\(served.blob.digest)"
    served.registry.failAlways(.redirect(target()))
    store.failAlways(.redirect(back))
    let outcome = harness.fetch(served.blob, .bytes(0..<1000))
    guard case .redirect(_, let problem)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(problem.contains("circle") && outcome.milliseconds < 1500)
    #expect(served.registry.server.requests.count == 1 && store.server.requests.count == 1)
  }

  @Test("without an end: an error at once")
  func endless() {
    defer { stop() }
    served.registry.failAlways(
      .change { request, reply in
        reply = TestReply(
          302, headers: [("Location", "\(request.path)?n=\(request.target.utf8.count)\(request.query)")])
      })
    let outcome = harness.fetch(served.blob, .bytes(0..<1000))
    guard case .redirect(_, let problem)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(problem.contains("10") && served.registry.server.requests.count == 11)
  }

  @Test(
    "nowhere to go", arguments: ["", "ftp://x/", "http://user:pw@127.0.0.1/", "http://", "//", "file:///etc/passwd"])
  func badLocation(location: String) {
    defer { stop() }
    served.registry.failAlways(.redirect(location))
    let outcome = harness.fetch(served.blob, .bytes(0..<1000))
    guard case .redirect? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
  }

  @Test("the end of a blob through a redirect")
  func suffix() {
    defer { stop() }
    served.registry.failAlways(.redirect(target()))
    #expect(served.isRight(harness.fetch(served.blob, .suffix(1000))))
    #expect(served.registry.server.requests.count == 1 && store.server.requests.count == 1)
  }
}
