import Glibc
import Posix
import TestRegistry
import Testing
import TestSupport

@testable import Registry

/// Every source of credentials against a registry that wants `user:secret`.
@Suite(.serialized) struct CredentialSourceTests {
  let served: Served
  let scratch: Scratch
  private static let password = "dXNlcjpzZWNyZXQ="

  init() throws {
    served = try Served()
    scratch = try Scratch()
    let password = Self.password
    served.registry.guardAccess { request in
      request.headers["authorization"] == "Basic \(password)"
        ? nil : TestReply(401, headers: [("WWW-Authenticate", #"Basic realm="test""#)])
    }
  }

  private var host: String { "127.0.0.1:\(served.registry.server.port)" }

  private func outcome(_ sources: CredentialSource..., within milliseconds: Int = 3000) throws -> Harness.Outcome {
    defer { served.registry.stop() }
    return try Harness(
      .fast {
        $0.credentials = sources
        $0.limits.token = 1000
      }
    ).fetch(served.blob, .bytes(0..<1000), within: milliseconds)
  }

  private func isRight(_ sources: CredentialSource...) throws -> Bool {
    defer { served.registry.stop() }
    return served.isRight(try Harness(.fast { $0.credentials = sources }).fetch(served.blob, .bytes(0..<1000)))
  }

  /// A helper program on the PATH of this process, for one test.
  private func withHelper<Value>(_ script: String, _ body: () throws -> Value) throws -> Value {
    try scratch.write("docker-credential-test", "#!/bin/sh\n\(script)\n", mode: 0o755)
    let before = String(cString: getenv("PATH"))
    setenv("PATH", "\(scratch.path):\(before)", 1)
    defer { setenv("PATH", before, 1) }
    return try body()
  }

  @Test(
    "files: auths by host and by repository",
    arguments: [
      #"{"auths":{"HOST":{"auth":"dXNlcjpzZWNyZXQ="}}}"#,
      #"{"auths":{"other":{"auth":"eA=="},"HOST":{"username":"user","password":"secret"}}}"#,
      #"{"auths":{"HOST/images":{"auth":"dXNlcjpzZWNyZXQ="}}}"#,
      #"{"auths":{"HOST/images/test":{"auth":"dXNlcjpzZWNyZXQ="}}}"#,
      #"{"auths":{"HOST/images":{"auth":"broken"},"HOST":{"auth":"dXNlcjpzZWNyZXQ="}}}"#,
    ], [true, false])
  func files(text: String, isDocker: Bool) throws {
    let path = try scratch.write("file", text.replacing("HOST", with: host))
    #expect(try isRight(isDocker ? .docker(path: path) : .file(path: path)))
  }

  @Test("the next source is asked when the first has nothing")
  func order() throws {
    let none = try scratch.write("none", #"{"auths":{"other":{"auth":"eDp5"}}}"#)
    let path = try scratch.write("file", #"{"auths":{"\#(host)":{"auth":"\#(Self.password)"}}}"#)
    #expect(try isRight(.docker(path: scratch("missing")), .file(path: none), .docker(path: path)))
  }

  @Test("a file that is no JSON is an error that names it, until the deadline")
  func damaged() throws {
    let path = try scratch.write("file", "{")
    let outcome = try outcome(.file(path: path), within: 500)
    guard case .deadline(_, .credentials(_, path, let problem)?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
    #expect(problem.contains("no JSON"))
  }

  @Test("a helper program for all hosts, and one for this host", arguments: ["credsStore", "credHelpers"])
  func helper(key: String) throws {
    let value = key == "credsStore" ? "\"test\"" : #"{"\#(host)":"test"}"#
    let path = try scratch.write("config.json", #"{"auths":{"\#(host)":{}},"\#(key)":\#(value)}"#)
    let log = scratch("asked")
    let script =
      #"[ "$1" = get ] || exit 1; cat > \#(log); echo '{"ServerURL":"x","Username":"user","Secret":"secret"}'"#
    let isGood = try withHelper(script) { try isRight(.docker(path: path)) }
    #expect(isGood)
    #expect(String(decoding: try readFile(log), as: UTF8.self) == host)
  }

  @Test("a helper without credentials: the next source")
  func helperWithout() throws {
    let path = try scratch.write("config.json", #"{"credsStore":"test"}"#)
    let file = try scratch.write("file", #"{"auths":{"\#(host)":{"auth":"\#(Self.password)"}}}"#)
    let isGood = try withHelper("echo 'credentials not found in native keychain'; exit 1") {
      try isRight(.docker(path: path), .file(path: file))
    }
    #expect(isGood)
  }

  @Test("a helper that hangs is ended, with what it started, and the fetch keeps its deadline")
  func hangingHelper() throws {
    let path = try scratch.write("config.json", #"{"credsStore":"test"}"#)
    let log = scratch("pid")
    try withHelper("echo $$ > \(log); sleep 1000") {
      let outcome = try outcome(.docker(path: path), within: 1500)
      guard case .deadline(_, .credentials(_, _, let problem)?)? = outcome.error else {
        Issue.record("\(outcome.result)")
        return
      }
      #expect(problem.contains("in time") && outcome.milliseconds < 2500)
    }
    let pid = String(decoding: try readFile(log), as: UTF8.self).trimmingLineEnd
    let isGone = Deadline(milliseconds: 3000).wait(until: { !fileExists("/proc/\(pid)") })
    #expect(isGone)
  }

  @Test(
    "a helper that fails, answers nonsense or is not there",
    arguments: ["exit 3", "echo nonsense", "echo '{}'", "yes", "kill -9 $$"])
  func brokenHelper(script: String) throws {
    let path = try scratch.write("config.json", #"{"credsStore":"test"}"#)
    try withHelper(script) {
      let outcome = try outcome(.docker(path: path), within: 700)
      guard case .deadline(_, .credentials(_, _, let problem)?)? = outcome.error else {
        Issue.record("\(outcome.result)")
        return
      }
      #expect(problem.contains("docker-credential-test"), "\(problem)")
    }
  }

  @Test("a helper's name is no path", arguments: ["../evil", "a/b", "a b", "", "a;b"])
  func helperName(name: String) {
    let helper = CredentialHelper(program: name, server: "x", deadline: Deadline(milliseconds: 1000)) { false }
    guard case .failed = helper.run() else {
      Issue.record("\(name) was run")
      return
    }
  }

  @Test("upstream's mode http: asked with the blob's URL")
  func http() throws {
    let answer = #"{"traceId":"t","success":true,"data":{"auths":{"\#(host)":{"auth":"\#(Self.password)"}}}}"#
    let server = try TestServer { _ in TestReply.json(answer) }
    defer { server.stop() }
    #expect(try isRight(.http(url: "\(server.url)/auth", seconds: 1, caFile: nil, clientCertificate: nil)))
    #expect(server.requests[0].target == "/auth?remote_url=\(served.blob.repoBlobURL)/\(served.blob.digest)")
  }

  @Test("a credential server that is slow or says no", arguments: ["slow", "no", "500", "nonsense"])
  func badServer(kind: String) throws {
    let server = try TestServer { _ in
      switch kind {
      case "slow":
        var reply = TestReply.json("{}")
        reply.delay = 3000
        return reply
      case "no": return TestReply.json(#"{"success":false,"data":{"auths":{}}}"#)
      case "500": return TestReply(500)
      default: return TestReply(200, body: [1, 2, 3])
      }
    }
    defer { server.stop() }
    let outcome = try outcome(
      .http(url: server.url, seconds: 1, caFile: nil, clientCertificate: nil), within: 1500)
    guard case .deadline(_, .credentials(_, server.url, _)?)? = outcome.error else {
      Issue.record("\(outcome.result)")
      return
    }
  }

  @Test("Docker's tokens: one for the registry, and one for the token server")
  func dockerTokens() throws {
    let tokens = try TokenServer(password: "nobody")
    defer { tokens.stop() }
    served.registry.guardAccess(tokens.access)
    let path = try scratch.write("config.json", #"{"auths":{"\#(host)":{"identitytoken":"refresh/me"}}}"#)
    #expect(try isRight(.docker(path: path)))
    let form = String(decoding: tokens.server.requests[0].body, as: UTF8.self)
    #expect(tokens.server.requests[0].method == "POST")
    #expect(form.contains("grant_type=refresh_token") && form.contains("refresh_token=refresh%2Fme"))
    #expect(form.contains("scope=repository%3Aimages%2Ftest%3Apull%2Cpush"))
  }

  @Test("a registry token is shown as it is")
  func registryToken() throws {
    served.registry.guardAccess { request in
      let challenge = #"Bearer realm="http://127.0.0.1:1/never-asked""#
      return request.headers["authorization"] == "Bearer ready"
        ? nil : TestReply(401, headers: [("WWW-Authenticate", challenge)])
    }
    let path = try scratch.write("config.json", #"{"auths":{"\#(host)":{"registrytoken":"ready"}}}"#)
    #expect(try isRight(.docker(path: path)))
  }
}

extension String {
  /// Without line ends at the end.
  var trimmingLineEnd: String { String(self.reversed().drop { $0 == "\n" }.reversed()) }
}
