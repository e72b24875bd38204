import Glibc
import Posix
import TestRegistry
import Testing

@testable import Registry

/// TLS against nginx, with certificates that openssl makes.
@Suite(.serialized, .enabled(if: Nginx.isThere, "\(Nginx.absence)")) struct TLSTests {
  let certificates: Certificates
  let nginx: Nginx

  init() throws {
    certificates = try Certificates()
    try certificates.make("good")
    try certificates.make("other", names: "DNS:other.example")
    try certificates.make("old", days: -1)
    try certificates.make(authority: "self")
    try certificates.make("me")
    let client = "ssl_client_certificate \(certificates.authority); ssl_verify_client"
    nginx = try Nginx(
      certificates,
      [
        ("good", "good", ""), ("h2", "good", ""), ("other", "other", ""), ("old", "old", ""), ("self", "self", ""),
        ("client", "good", "\(client) on;"),
        ("plain", "good", "location / { return 307 http://127.0.0.1:1/x; }"),
        ("shy", "good", "\(client) optional; if ($ssl_client_verify = SUCCESS) { return 403; }"),
      ])
  }

  private func trusting(_ change: (inout RegistrySettings) -> Void = { _ in }) -> RegistrySettings {
    .fast {
      $0.caFile = certificates.authority
      change(&$0)
    }
  }

  private func expectRefused(
    _ server: String, _ settings: RegistrySettings, _ location: SourceLocation = #_sourceLocation
  )
    throws
  {
    let outcome = try Harness(settings).fetch(nginx.blob(server), .bytes(0..<1000))
    guard case .certificate(let place, _)? = outcome.error else {
      Issue.record("\(outcome.result)", sourceLocation: location)
      return
    }
    #expect(place.host == "localhost:\(nginx.ports[server]!)" && outcome.milliseconds < 2000, sourceLocation: location)
    #expect(outcome.error?.isRetryable == false, sourceLocation: location)
    #expect("\(outcome.error!)".contains("give the file of the certificates"), sourceLocation: location)
  }

  @Test("a private authority: refused until it is given, for all hosts or for one")
  func privateAuthority() throws {
    try expectRefused("good", .fast())
    #expect(nginx.isRight(try Harness(trusting()).fetch(nginx.blob("good"), .bytes(1000..<200_000))))
    for key in ["localhost", "localhost:\(nginx.ports["good"]!)"] {
      var host = RegistrySettings.Host()
      host.caFile = certificates.authority
      #expect(nginx.isRight(try Harness(.fast { $0.hosts[key] = host }).fetch(nginx.blob("good"), .bytes(0..<1000))))
    }
  }

  @Test("another name, an old certificate, one that is signed by itself: refused", arguments: ["other", "old", "self"])
  func refused(server: String) throws {
    try expectRefused(server, trusting())
    // Whoever is told not to look believes it, and only there.
    var host = RegistrySettings.Host()
    host.skipTLSVerify = true
    let harness = try Harness(trusting { $0.hosts["localhost:\(nginx.ports[server]!)"] = host })
    #expect(nginx.isRight(harness.fetch(nginx.blob(server), .bytes(0..<1000))))
    for another in ["other", "old", "self"] where another != server {
      guard case .certificate? = harness.fetch(nginx.blob(another), .bytes(0..<1000)).error else {
        Issue.record("\(another) was believed because \(server) is not looked at")
        continue
      }
    }
  }

  @Test("a client's certificate: shown to the registry that wants it")
  func clientCertificate() throws {
    let without = try Harness(trusting()).fetch(nginx.blob("client"), .bytes(0..<1000))
    guard case .status(_, 400, nil)? = without.error else {
      Issue.record("\(without.result)")
      return
    }
    let settings = trusting { $0.clientCertificate = certificates.client("me") }
    #expect(nginx.isRight(try Harness(settings).fetch(nginx.blob("client"), .bytes(0..<1000))))
    #expect(nginx.log.last?.last == "\"CN=me\"")
    try expectRefused("good", trusting { $0.clientCertificate = .init(certificateFile: "/no/such/file") })
  }

  @Test("a client's certificate is not shown to the target of a redirect")
  func shyCertificate() throws {
    let served = try Served()
    defer { served.registry.stop() }
    let target = "https://localhost:\(nginx.ports["shy"]!)/v2/images/test/blobs/\(nginx.digest)"
    served.registry.failAlways(.redirect(target))
    let blob = BlobLocation(repoBlobURL: served.registry.repoBlobURL(), digest: nginx.digest)
    let settings = trusting { $0.clientCertificate = certificates.client("me") }
    #expect(nginx.isRight(try Harness(settings).fetch(blob, .bytes(0..<1000))))
    // As a registry the same server does see it.
    guard case .forbidden? = try Harness(settings).fetch(nginx.blob("shy"), .bytes(0..<1000)).error else {
      Issue.record("the certificate was not shown")
      return
    }
  }

  @Test("from https to http: refused, unless the host may")
  func downgrade() throws {
    let outcome = try Harness(trusting()).fetch(nginx.blob("plain"), .bytes(0..<1000))
    guard case .redirect(_, let problem)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(problem.contains("from https"))
    var host = RegistrySettings.Host()
    host.allowPlainRedirects = true
    let allowed = try Harness(trusting { $0.hosts["localhost"] = host })
    guard
      case .deadline(_, .connection(let place, _)?)? =
        allowed.fetch(nginx.blob("plain"), .bytes(0..<10), within: 500).error
    else {
      Issue.record("the redirect was not followed")
      return
    }
    #expect(place.host == "127.0.0.1:1")
  }

  @Test("an authority's file that cannot be read")
  func unreadableAuthority() throws {
    try expectRefused("good", .fast { $0.caFile = "/no/such/file" })
  }

  @Test("HTTP/2: many requests share a connection")
  func multiplexing() throws {
    let harness = try Harness(trusting())
    #expect(nginx.isRight(harness.fetch(nginx.blob("h2"), .bytes(0..<1000))))
    let pending = (0..<100).map { number in
      harness.start(nginx.blob("h2"), .bytes(UInt64(number) * 2000..<UInt64(number + 1) * 2000))
    }
    for outcome in pending.map({ $0.wait() }) { #expect(nginx.isRight(outcome), "\(outcome.result)") }
    #expect(Deadline(milliseconds: 2000).wait(until: { nginx.log.count == 101 }))
    #expect(nginx.log.allSatisfy { $0[2] == "HTTP/2.0" && $0[3] == "206" })
    #expect(Set(nginx.log.map { $0[1] }).count == 1, "connections: \(Set(nginx.log.map { $0[1] }))")
    #expect(harness.troubles.isEmpty)
  }

  @Test("HTTP/2: a cancelled request leaves the connection to the others")
  func cancelledStream() throws {
    let harness = try Harness(trusting())
    #expect(nginx.isRight(harness.fetch(nginx.blob("h2"), .bytes(0..<1000))))
    for _ in 0..<20 {
      let pending = (0..<4).map { _ in harness.start(nginx.blob("h2"), .bytes(0..<300_000)) }
      harness.onLoop { client in pending[0].handle.map { client.cancel($0) } }
      for outcome in pending.map({ $0.wait() }).dropFirst() { #expect(nginx.isRight(outcome), "\(outcome.result)") }
    }
    #expect(harness.troubles.isEmpty)
  }

  @Test("HTTP/1.1 over TLS: connections are used again")
  func reuse() throws {
    let harness = try Harness(trusting())
    for _ in 0..<10 { #expect(nginx.isRight(harness.fetch(nginx.blob("good"), .bytes(0..<100_000)))) }
    #expect(Deadline(milliseconds: 2000).wait(until: { nginx.log.count == 10 }))
    #expect(Set(nginx.log.map { $0[1] }).count == 1)
  }
}
