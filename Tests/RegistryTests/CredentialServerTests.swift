import Posix
import TestRegistry
import Testing

@testable import Registry

/// Upstream's credential servers behind TLS and behind a socket, which nginx is here.
@Suite(.serialized, .enabled(if: Nginx.isThere, "\(Nginx.absence)")) struct CredentialServerTests {
  let served: Served
  let certificates: Certificates
  let nginx: Nginx

  init() throws {
    served = try Served()
    served.registry.guardAccess { request in
      request.headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
        ? nil : TestReply(401, headers: [("WWW-Authenticate", #"Basic realm="test""#)])
    }
    certificates = try Certificates()
    try certificates.make("good")
    try certificates.make("me")
    let socket = certificates.scratch("credentials.socket")
    let host = "127.0.0.1:\(served.registry.server.port)"
    let answer = #"{"traceId":"t","success":true,"data":{"auths":{"\#(host)":{"auth":"dXNlcjpzZWNyZXQ="}}}}"#
    // What is asked, with the URL as it stands, is in the access log.
    let lines = "location = /auth { default_type application/json; return 200 '\(answer)'; }"
    nginx = try Nginx(
      certificates,
      [
        ("open", "good", lines),
        ("client", "good", "ssl_client_certificate \(certificates.authority); ssl_verify_client on; \(lines)"),
        ("socket", "good", "listen unix:\(socket); \(lines)"),
      ])
  }

  private func url(_ server: String) -> String { "https://localhost:\(nginx.ports[server]!)/auth" }

  private func https(_ server: String, ca: String? = nil, _ client: ClientCertificate? = nil) -> CredentialSource {
    .http(url: url(server), seconds: 2, caFile: ca, clientCertificate: client)
  }

  private func fetch(_ source: CredentialSource, within milliseconds: Int = 5000) throws -> Harness.Outcome {
    try Harness(.fast { $0.credentials = [source] }).fetch(served.blob, .bytes(0..<1000), within: milliseconds)
  }

  /// The source and its problem, of a fetch that got no credentials.
  private func problem(_ source: CredentialSource) throws -> (source: String, words: String) {
    let outcome = try fetch(source, within: 700)
    guard case .deadline(_, .credentials(_, let name, let words)?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return ("", "")
    }
    #expect(served.registry.server.requests.allSatisfy { $0.headers["authorization"] == nil })
    return (name, words)
  }

  @Test("https: its certificate is one of the authority that is given, ours is shown when it wants one")
  func https() throws {
    defer { served.registry.stop() }
    #expect(served.isRight(try fetch(https("open", ca: certificates.authority))))
    #expect(nginx.log.contains { $0[0] == "\(nginx.ports["open"]!)" && $0[3] == "200" }, "\(nginx.log)")
  }

  @Test("https with a client's certificate: shown when it is wanted")
  func clientCertificate() throws {
    defer { served.registry.stop() }
    let source = https("client", ca: certificates.authority, certificates.client("me"))
    #expect(served.isRight(try fetch(source)))
    #expect(nginx.log.contains { $0.last == "\"CN=me\"" }, "\(nginx.log)")
  }

  @Test("https: an unknown authority, a file of one that is not there, no certificate for who wants one")
  func refusedHTTPS() throws {
    defer { served.registry.stop() }
    let cases: [(source: CredentialSource, words: String)] = [
      (https("open"), "certificate"),
      (https("open", ca: "/no/such/authority"), "/no/such/authority"),
      (https("client", ca: certificates.authority), "status 400"),
      (
        https("client", ca: certificates.authority, .init(certificateFile: "/no/such/certificate")),
        "/no/such/certificate"
      ),
    ]
    for expected in cases {
      let problem = try problem(expected.source)
      #expect(problem.words.contains(expected.words), "\(problem)")
      guard case .http(let url, _, _, _) = expected.source else { continue }
      #expect(problem.source == url)
    }
  }

  @Test("uds: asked over the socket, with the blob's URL")
  func socket() throws {
    defer { served.registry.stop() }
    let path = certificates.scratch("credentials.socket")
    #expect(served.isRight(try fetch(.unixSocket(path: path, seconds: 2))))
  }

  @Test("uds: a socket that is not there, or a file, is named")
  func refusedSocket() throws {
    defer { served.registry.stop() }
    let file = try certificates.scratch.write("file", "no socket")
    for path in [certificates.scratch("absent.socket"), file] {
      let problem = try problem(.unixSocket(path: path, seconds: 1))
      #expect(problem.source.contains(path) && !problem.words.isEmpty, "\(problem)")
    }
  }
}
