import Posix
import TestRegistry
import Testing

@testable import Registry

/// A registry with TLS behind an HTTP proxy, which makes a tunnel to it and sees nothing of what goes through.
@Suite(.serialized, .enabled(if: Nginx.isThere, "\(Nginx.absence)")) struct TunnelTests {
  let certificates: Certificates
  let nginx: Nginx

  init() throws {
    certificates = try Certificates()
    try certificates.make("good")
    try certificates.scratch.write("users", "user:{PLAIN}secret\n")
    let access = "auth_basic test; auth_basic_user_file \(certificates.scratch("users"));"
    nginx = try Nginx(certificates, [("good", "good", ""), ("h2", "good", ""), ("private", "good", access)])
  }

  private func settings(_ proxy: TestServer, _ change: (inout RegistrySettings) -> Void = { _ in }) -> RegistrySettings
  {
    .fast {
      $0.caFile = certificates.authority
      $0.proxy = proxy.url
      change(&$0)
    }
  }

  /// A proxy that tunnels, or answers with another status. A tunnel may end after so many bytes.
  private func proxy(_ status: Int = 200, cut: Int? = nil) throws -> TestServer {
    try TestServer { request in
      let port = request.target.split(separator: ":").last.flatMap { UInt16($0) }
      guard status == 200, request.method == "CONNECT", let port else { return TestReply(status == 200 ? 405 : status) }
      var reply = TestReply(200)
      reply.tunnel = port
      reply.trouble = cut.map { ($0, .reset) }
      return reply
    }
  }

  @Test("everything goes through a tunnel, which is used again, and the proxy is told the host and nothing else")
  func tunnel() throws {
    let proxy = try proxy()
    defer { proxy.stop() }
    let source = try certificates.scratch.write(
      "cred.json", #"{"auths":{"localhost:\#(nginx.ports["private"]!)":{"auth":"dXNlcjpzZWNyZXQ="}}}"#)
    let harness = try Harness(settings(proxy) { $0.credentials = [.file(path: source)] })
    for server in ["good", "h2", "private"] {
      proxy.clearRequests()
      for _ in 0..<3 { #expect(nginx.isRight(harness.fetch(nginx.blob(server), .bytes(1000..<200_000))), "\(server)") }
      #expect(proxy.requests.map(\.method) == ["CONNECT"], "\(server)")
      #expect(proxy.requests.first?.target == "localhost:\(nginx.ports[server]!)")
      #expect(proxy.requests.allSatisfy { $0.headers["authorization"] == nil && $0.headers["range"] == nil })
    }
    #expect(harness.troubles.isEmpty)
  }

  @Test("the certificate is looked at through the tunnel too: the proxy's word is not enough")
  func certificate() throws {
    let proxy = try proxy()
    defer { proxy.stop() }
    let outcome = try Harness(settings(proxy) { $0.caFile = nil }).fetch(nginx.blob("good"), .bytes(0..<1000))
    guard case .certificate? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(proxy.requests.first?.method == "CONNECT")
  }

  @Test("a proxy that is away: the registry is asked directly, and the proxy left alone after some failures")
  func away() throws {
    let proxy = try proxy()
    proxy.stop()
    let harness = try Harness(settings(proxy))
    for _ in 0..<20 {
      let outcome = harness.fetch(nginx.blob("good"), .bytes(0..<1000))
      #expect(nginx.isRight(outcome) && outcome.milliseconds < 1500, "\(outcome.result)")
    }
    #expect((5...15).contains(harness.failures.count), "\(harness.failures.count) failures")
    #expect(harness.failures.allSatisfy { if case .connection = $0 { true } else { false } }, "\(harness.failures)")
  }

  @Test("a proxy that makes no tunnel: the registry is asked directly", arguments: [403, 407, 502, 504])
  func refused(status: Int) throws {
    let proxy = try proxy(status)
    defer { proxy.stop() }
    let harness = try Harness(settings(proxy))
    let outcome = harness.fetch(nginx.blob("good"), .bytes(0..<1000))
    #expect(nginx.isRight(outcome) && outcome.milliseconds < 1500, "\(outcome.result)")
    #expect(proxy.requests.count == 1 && harness.failures.count == 1, "\(harness.failures)")
    #expect(harness.failures.allSatisfy { "\($0)".contains("\(status)") }, "\(harness.failures)")
  }

  @Test("a proxy that takes the connection and says nothing: the registry is asked directly when its time is over")
  func silent() throws {
    let proxy = try TestServer { _ in
      var reply = TestReply(200)
      reply.delay = 20_000
      return reply
    }
    defer { proxy.stop() }
    let harness = try Harness(settings(proxy) { $0.limits.connect = 500 })
    let outcome = harness.fetch(nginx.blob("good"), .bytes(0..<1000))
    #expect(nginx.isRight(outcome) && (450..<3000).contains(outcome.milliseconds), "\(outcome)")
    #expect(harness.failures.count == 1, "\(harness.failures)")
  }

  @Test("a tunnel that breaks off while bytes come: the rest is asked for directly, and what was there is kept")
  func broken() throws {
    let proxy = try proxy(cut: 100_000)
    defer { proxy.stop() }
    let harness = try Harness(settings(proxy))
    #expect(nginx.isRight(harness.fetch(nginx.blob("good"), .bytes(0..<300_000))))
    #expect(proxy.requests.count == 1 && harness.failures.count == 1, "\(harness.failures)")
    #expect(Deadline(milliseconds: 2000).wait(until: { nginx.log.count == 2 }))
    let starts = nginx.log.compactMap { Int($0[4].drop { !$0.isNumber }.prefix { $0.isNumber }) }.sorted()
    #expect(starts.count == 2 && starts[0] == 0 && (50_000..<100_000).contains(starts[1]), "\(nginx.log)")
  }
}
