import Glibc
import Posix
import TestRegistry
import Testing
import TestSupport

@testable import Registry

/// Mirrors, peers and proxies, and the ways around them.
@Suite struct RouteTests {
  let served: Served

  init() throws { served = try Served() }

  private var host: String { "127.0.0.1:\(served.registry.server.port)" }

  /// The registry with these mirrors.
  private func mirrored(_ mirrors: String...) -> RegistrySettings {
    .fast { settings in
      var host = RegistrySettings.Host()
      host.mirrors = mirrors
      settings.hosts[self.host] = host
    }
  }

  private func count(_ server: TestServer) -> Int { server.requests.count }

  // MARK: Mirrors

  @Test("mirrors are asked in order, the registry not at all", arguments: ["", "/", "/v2", "/v2/", "/prefix"])
  func mirrors(path: String) throws {
    let (first, second) = (try TestRegistry(), try TestRegistry())
    defer { first.stop(); second.stop(); served.registry.stop() }
    first.add(served.blob.digest, served.bytes)
    let harness = try Harness(mirrored(first.server.url + path, second.server.url))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    #expect(served.isRight(harness.fetch(served.blob, .suffix(1000))))
    #expect(count(first.server) == 2 && count(second.server) == 0 && count(served.registry.server) == 0)
    let prefix = path == "/prefix" ? "/prefix" : ""
    #expect(first.server.requests[0].path == "\(prefix)/v2/images/test/blobs/\(served.blob.digest)")
  }

  @Test(
    "a mirror that lacks a blob, or does not let us have it, is not asked again for a while",
    arguments: [404, 401, 403])
  func lacking(status: Int) throws {
    let mirror = try TestRegistry()
    defer { mirror.stop(); served.registry.stop() }
    mirror.failAlways(.status(status))
    let harness = try Harness(mirrored(mirror.server.url))
    for _ in 0..<5 { #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000)))) }
    #expect(count(mirror.server) == 1 && count(served.registry.server) == 5)
    guard case .attempt(_, _, _, 1, 0)? = harness.troubles.first else {
      Issue.record("\(harness.troubles)")
      return
    }
  }

  @Test("a mirror that fails: the next one at once, with the rest")
  func failing() throws {
    let (first, second) = (try TestRegistry(), try TestRegistry())
    defer { first.stop(); second.stop(); served.registry.stop() }
    first.add(served.blob.digest, served.bytes)
    second.add(served.blob.digest, served.bytes)
    first.failAlways(.cut(after: 10_000))
    second.failAlways(.status(503))
    let harness = try Harness(mirrored(first.server.url, second.server.url))
    let outcome = harness.fetch(served.blob, .bytes(0..<50_000))
    #expect(served.isRight(outcome) && outcome.success?.attempts == 3 && outcome.milliseconds < 1500)
    #expect(served.registry.server.requests.map { $0.headers["range"] } == ["bytes=10000-49999"])
  }

  @Test("a mirror that is down costs little: after some failures it is left alone")
  func down() throws {
    let mirror = try TestRegistry()
    defer { served.registry.stop() }
    mirror.stop()
    let harness = try Harness(mirrored(mirror.server.url))
    for _ in 0..<50 { #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000)))) }
    #expect((5...15).contains(harness.failures.count), "\(harness.failures.count) failures")
  }

  @Test("when nobody has it, the registry's own word counts")
  func nobody() throws {
    let mirror = try TestRegistry()
    defer { mirror.stop(); served.registry.stop() }
    mirror.failAlways(.status(500))
    served.registry.failAlways(.status(404))
    let outcome = try Harness(mirrored(mirror.server.url)).fetch(served.blob, .bytes(0..<1000))
    guard case .notFound(let place)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(place.host == host && outcome.milliseconds < 1500)
  }

  @Test("credentials of the registry are not for a mirror")
  func mirrorCredentials() throws {
    let scratch = try Scratch()
    let mirror = try TestRegistry()
    defer { mirror.stop(); served.registry.stop() }
    let wanted = [("WWW-Authenticate", "Basic realm=x")]
    mirror.failAlways(.status(401, wanted))
    served.registry.guardAccess { $0.headers["authorization"] == nil ? TestReply(401, headers: wanted) : nil }
    var settings = mirrored(mirror.server.url)
    settings.credentials = [.file(path: try scratch.write("cred", #"{"auths":{"\#(host)":{"auth":"dTpw"}}}"#))]
    #expect(served.isRight(try Harness(settings).fetch(served.blob, .bytes(0..<1000))))
    #expect(mirror.server.requests.allSatisfy { $0.headers["authorization"] == nil })
  }

  // MARK: Peers

  /// Serves `<prefix>/<URL>` of the blob, as a peer-to-peer cache does.
  private func peer(_ status: Int? = nil) throws -> TestServer {
    let bytes = served.bytes
    return try TestServer { request in
      if let status { return TestReply(status) }
      return TestRegistry.content(request.path.hasPrefix("/accelerator/http://127.0.0.") ? bytes : nil, request)
    }
  }

  private func peered(_ peer: TestServer, _ slash: String = "") -> RegistrySettings {
    .fast { $0.peerPrefix = "\(peer.url)/accelerator\(slash)" }
  }

  @Test("data comes from the peer, whoever keeps the blob is asked only about where it is", arguments: ["", "/"])
  func peerData(slash: String) throws {
    let peer = try peer()
    defer { peer.stop(); served.registry.stop() }
    let harness = try Harness(peered(peer, slash))
    for number: UInt64 in 0..<3 {
      let outcome = harness.fetch(served.blob, .bytes(number * 100..<(number + 1) * 100))
      #expect(served.isRight(outcome) && outcome.success?.host == "127.0.0.1:\(peer.port)")
    }
    #expect(served.registry.server.requests.map { $0.headers["range"] } == ["bytes=0-0"])
    #expect(peer.requests[0].target == "/accelerator/\(served.blob.repoBlobURL)/\(served.blob.digest)")
    #expect(count(peer) == 3 && harness.troubles.isEmpty)
  }

  @Test("the peer gets the target of a redirect, with its query, and no credentials for it")
  func peerRedirect() throws {
    let peer = try peer()
    let tokens = try TokenServer()
    defer { peer.stop(); tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    served.registry.failAlways(.redirect("http://127.0.0.9/data?sig=a%2Fb&x=1"))
    #expect(served.isRight(try Harness(peered(peer)).fetch(served.blob, .bytes(0..<1000))))
    #expect(peer.requests.map(\.target) == ["/accelerator/http://127.0.0.9/data?sig=a%2Fb&x=1"])
    #expect(peer.requests[0].headers["authorization"] == nil)
  }

  @Test("the peer gets the token when the registry keeps the blob itself")
  func peerToken() throws {
    let peer = try peer()
    let tokens = try TokenServer()
    defer { peer.stop(); tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    #expect(served.isRight(try Harness(peered(peer)).fetch(served.blob, .suffix(1000))))
    #expect(peer.requests.map { $0.headers["authorization"] } == ["Bearer token-1"])
  }

  @Test("the peer is away or fails: the registry gives the data, at once", arguments: [nil, 404, 500, 200])
  func peerAway(status: Int?) throws {
    let peer = try peer(status)
    defer { peer.stop(); served.registry.stop() }
    if status == nil { peer.stop() }
    let harness = try Harness(peered(peer))
    for _ in 0..<20 {
      let outcome = harness.fetch(served.blob, .bytes(0..<1000))
      #expect(served.isRight(outcome) && outcome.milliseconds < 1500, "\(outcome.result)")
    }
    #expect(!harness.failures.isEmpty)
    if status == nil { #expect(harness.failures.count < 12, "a peer that is away is left alone") }
  }

  // MARK: Proxies

  /// A proxy for http that says what it was asked.
  private func proxy() throws -> TestServer {
    let bytes = served.bytes
    return try TestServer { request in
      TestRegistry.content(request.target.hasPrefix("http://127.0.0.1:") ? bytes : nil, request)
    }
  }

  @Test("everything goes through the proxy")
  func proxied() throws {
    let proxy = try proxy()
    defer { proxy.stop(); served.registry.stop() }
    let harness = try Harness(.fast { $0.proxy = proxy.url })
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    #expect(count(proxy) == 1 && count(served.registry.server) == 0)
    #expect(proxy.requests[0].target == "\(served.blob.repoBlobURL)/\(served.blob.digest)")
  }

  @Test("the proxy is away: servers are asked directly, and it is left alone after some failures")
  func proxyAway() throws {
    let proxy = try proxy()
    let tokens = try TokenServer()
    defer { tokens.stop(); served.registry.stop() }
    proxy.stop()
    served.registry.guardAccess(tokens.access)
    let harness = try Harness(.fast { $0.proxy = proxy.url })
    for _ in 0..<30 { #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000)))) }
    #expect((5...15).contains(harness.failures.count), "\(harness.failures.count) failures")
    #expect(harness.failures.allSatisfy { if case .connection = $0 { true } else { false } })
  }

  @Test("a proxy that cannot reach the server: it is asked directly", arguments: [502, 503, 504])
  func proxyCannot(status: Int) throws {
    let proxy = try TestServer { _ in TestReply(status) }
    defer { proxy.stop(); served.registry.stop() }
    let outcome = try Harness(.fast { $0.proxy = proxy.url }).fetch(served.blob, .bytes(0..<1000))
    #expect(served.isRight(outcome) && outcome.milliseconds < 1500)
  }

  @Test("settings that cannot be used are refused by name")
  func check() {
    func problem(_ change: (inout RegistrySettings) -> Void) -> String {
      do throws(RegistryError) {
        try RegistrySettings.fast(change).check()
        return ""
      } catch {
        return "\(error)"
      }
    }
    #expect(problem { _ in } == "")
    #expect(problem { $0.peerPrefix = "localhost:1" }.contains("peerPrefix"))
    let source = CredentialSource.http(url: "localhost:1/auth", seconds: 1, caFile: nil, clientCertificate: nil)
    #expect(problem { $0.credentials = [source] }.contains("localhost:1/auth"))
    #expect(
      problem { settings in
        var host = RegistrySettings.Host()
        host.mirrors = ["mirror:5000"]
        settings.hosts["a"] = host
      }.contains("mirror:5000"))
  }
}
