import Glibc
import Posix
import TestRegistry
import Testing
import TestSupport

@testable import Registry

/// `user:secret`.
private let password = "dXNlcjpzZWNyZXQ="

@Suite struct AuthTests {
  let served: Served
  let scratch: Scratch

  init() throws {
    served = try Served()
    scratch = try Scratch()
  }

  private var host: String { "127.0.0.1:\(served.registry.server.port)" }

  private func settings(_ sources: CredentialSource..., change: (inout RegistrySettings) -> Void = { _ in })
    -> RegistrySettings
  {
    .fast {
      $0.credentials = sources
      change(&$0)
    }
  }

  private func credFile(_ entry: String = #"{"username":"user","password":"secret"}"#) throws -> CredentialSource {
    .file(path: try scratch.write("cred.json", #"{"auths":{"\#(host)":\#(entry)}}"#))
  }

  private func basicOnly(_ password: String = password) {
    served.registry.guardAccess { request in
      request.headers["authorization"] == "Basic \(password)"
        ? nil : TestReply(401, headers: [("WWW-Authenticate", #"Basic realm="test""#)])
    }
  }

  // MARK: Tokens

  @Test("an anonymous token: one for many fetches, and only one question without it")
  func anonymous() throws {
    let tokens = try TokenServer(delay: 50)
    defer { tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    let harness = try Harness()
    let pending = (0..<16).map { _ in harness.start(served.blob, .bytes(0..<1000)) }
    for outcome in pending.map({ $0.wait() }) { #expect(served.isRight(outcome), "\(outcome.result)") }
    #expect(tokens.issued == 1, "single flight")
    #expect(harness.troubles.isEmpty)
    let request = tokens.server.requests[0]
    #expect(
      request.target == "/token?service=test%2C%20registry&scope=repository%3Aimages%2Ftest%3Apull%2Cpush")
    #expect(request.headers["authorization"] == nil)
    served.registry.clearCounts()
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    #expect(served.registry.server.requests.count == 1, "the token is shown right away")
  }

  @Test("a token for a password")
  func tokenForPassword() throws {
    let tokens = try TokenServer(password: password, key: "access_token")
    defer { tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    let harness = try Harness(settings(try credFile()))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    #expect(tokens.server.requests.allSatisfy { $0.headers["authorization"] == "Basic \(password)" })
    #expect(
      served.registry.server.requests.allSatisfy { !($0.headers["authorization"] ?? "").hasPrefix("Basic") },
      "the registry sees no password")
  }

  @Test("the token server refuses: at once, and the error says whose credentials they were")
  func tokenRefused() throws {
    let tokens = try TokenServer(password: "other")
    defer { tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    let outcome = try Harness(settings(try credFile())).fetch(served.blob, .bytes(0..<1000))
    guard case .token(_, _, let problem, false)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(problem.contains("401") && problem.contains(scratch("cred.json")) && outcome.milliseconds < 1500)
    let anonymous = try Harness().fetch(served.blob, .bytes(0..<1000))
    #expect("\(anonymous.error!)".contains("no source of them is configured"))
  }

  @Test("a token is renewed before it ends, while the old one is used")
  func renewal() throws {
    let tokens = try TokenServer(milliseconds: 4000, expiresIn: 4, delay: 300)
    defer { tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    let harness = try Harness()
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    let deadline = Deadline(milliseconds: 4500)
    while !deadline.hasPassed {
      let outcome = harness.fetch(served.blob, .bytes(0..<1000))
      #expect(served.isRight(outcome), "\(outcome.result)")
      usleep(20_000)
    }
    let refusals = served.registry.server.requests.filter { $0.headers["authorization"] == nil }.count
    #expect(refusals == 1, "only the first request was refused")
    #expect(tokens.issued == 2)
    let renewed = tokens.server.requests[1].time
    let meanwhile = served.registry.server.requests.filter { (renewed..<renewed + 300_000_000).contains($0.time) }
    #expect(!meanwhile.isEmpty, "nobody waits for the new one")
  }

  @Test("401 in mid-stream: a new token, and on")
  func revoked() throws {
    let tokens = try TokenServer(delay: 20)
    defer { tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    let harness = try Harness()
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    tokens.revoke()
    let pending = (0..<16).map { _ in harness.start(served.blob, .bytes(0..<1000)) }
    for outcome in pending.map({ $0.wait() }) { #expect(served.isRight(outcome), "\(outcome.result)") }
    #expect(tokens.issued == 2 && harness.troubles.isEmpty)
  }

  @Test("tokens that are never good: an error at once, no endless dance")
  func neverGood() throws {
    let tokens = try TokenServer(milliseconds: 0)
    defer { tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    let outcome = try Harness().fetch(served.blob, .bytes(0..<1000))
    guard case .unauthorized? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(tokens.issued == 1 && outcome.milliseconds < 1500)
  }

  @Test(
    "a token server that fails or is no token server",
    arguments: ["", "{}", "[]", #"{"token":""}"#, #"{"token":"a b"}"#])
  func badTokens(body: String) throws {
    let server = try TestServer { _ in TestReply.json(body) }
    defer { server.stop(); served.registry.stop() }
    served.registry.failAlways(.status(401, [("WWW-Authenticate", #"Bearer realm="\#(server.url)/t""#)]))
    let outcome = try Harness().fetch(served.blob, .bytes(0..<1000), within: 500)
    guard case .deadline(_, .token(_, let realm, _, true)?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(realm == "\(server.url)/t")
  }

  @Test("a token server that stalls: given up after the limit, and asked again")
  func stallingTokens() throws {
    let tokens = try TokenServer(delay: 3000)
    defer { tokens.stop(); served.registry.stop() }
    served.registry.guardAccess(tokens.access)
    let outcome = try Harness(.fast { $0.limits.token = 300 }).fetch(served.blob, .bytes(0..<1000), within: 1000)
    guard case .deadline(_, .token(_, _, let problem, true)?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(problem.contains("300 ms") && tokens.server.requests.count >= 2)
  }

  @Test("a token server that sends elsewhere is not followed: it would carry the password there")
  func tokenRedirect() throws {
    let thief = try TestServer { _ in TestReply.json(#"{"token":"x"}"#) }
    let server = try TestServer { _ in TestReply(307, headers: [("Location", thief.url)]) }
    defer { server.stop(); thief.stop(); served.registry.stop() }
    served.registry.failAlways(.status(401, [("WWW-Authenticate", #"Bearer realm="\#(server.url)/t""#)]))
    let outcome = try Harness(settings(try credFile())).fetch(served.blob, .bytes(0..<1000))
    guard case .token(_, _, _, false)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(thief.requests.isEmpty)
  }

  // MARK: Basic

  @Test("Basic: shown only when asked for, then always")
  func basic() throws {
    defer { served.registry.stop() }
    basicOnly()
    let harness = try Harness(settings(try credFile()))
    for _ in 0..<3 { #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000)))) }
    #expect(served.registry.server.requests.map { $0.headers["authorization"] != nil } == [false, true, true, true])
    #expect(harness.troubles.isEmpty)
  }

  @Test("Basic: a password that changed is read anew")
  func passwordChanges() throws {
    defer { served.registry.stop() }
    basicOnly()
    let harness = try Harness(settings(try credFile()))
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
    basicOnly("bmV3Om5ldw==")
    guard case .unauthorized? = harness.fetch(served.blob, .bytes(0..<1000)).error else {
      Issue.record("the old password was good")
      return
    }
    _ = try credFile(#"{"auth":"bmV3Om5ldw=="}"#)
    #expect(served.isRight(harness.fetch(served.blob, .bytes(0..<1000))))
  }

  @Test("Basic without credentials: an error that says where they were looked for")
  func noCredentials() throws {
    defer { served.registry.stop() }
    basicOnly()
    let missing = scratch("no such file")
    let outcome = try Harness(settings(.file(path: missing), .docker(path: missing))).fetch(served.blob, .bytes(0..<10))
    guard case .unauthorized(_, let credentials)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(credentials.contains(missing) && outcome.milliseconds < 1500)
  }

  @Test("a challenge that nothing is known of")
  func unknownScheme() throws {
    defer { served.registry.stop() }
    served.registry.failAlways(.status(401, [("WWW-Authenticate", "Negotiate")]))
    let outcome = try Harness().fetch(served.blob, .bytes(0..<10))
    guard case .unauthorized(_, let credentials)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(credentials.contains("negotiate"))
  }
}
