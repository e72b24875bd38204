import Posix
import Synchronization

/// A token server, and the registry's side of it.
public final class TokenServer: Sendable {
  private struct State {
    var issued = 0
    /// Milliseconds on the monotonic clock.
    var ends: [String: UInt64] = [:]
  }

  private final class Box: Sendable {
    let state = Mutex(State())
  }

  private let box: Box
  /// The server: `requests` shows what it was asked.
  public let server: TestServer
  /// The one who may have tokens, as `user:password` in base64; nil: everybody.
  public let password: String?

  /// `milliseconds` is how long a token is good for, and `expiresIn` what is said about that; nil: nothing. `delay` is
  /// how long a token takes.
  public init(
    password: String? = nil, milliseconds: Int = 300_000, expiresIn: Int? = 300, delay: Int = 0,
    key: String = "token"
  ) throws(Errno) {
    let box = Box()
    self.box = box
    self.password = password
    server = try TestServer { request in
      if let password, request.headers["authorization"] != "Basic \(password)" {
        let form = String(decoding: request.body, as: UTF8.self)
        guard request.method == "POST", form.contains("refresh_token=") else { return TestReply(401) }
      }
      let number = box.state.withLock { state in
        state.issued += 1
        state.ends["token-\(state.issued)"] = monotonicNanoseconds() / 1_000_000 + UInt64(max(0, milliseconds + delay))
        return state.issued
      }
      let life = expiresIn.map { #","expires_in":\#($0)"# } ?? ""
      var reply = TestReply.json(#"{"\#(key)":"token-\#(number)"\#(life)}"#)
      reply.delay = delay
      return reply
    }
  }

  /// Tokens so far.
  public var issued: Int { box.state.withLock { $0.issued } }

  /// None of the tokens so far is good any more.
  public func revoke() { box.state.withLock { $0.ends = [:] } }

  /// The challenge for a repository.
  public func challenge(_ scope: String = "repository:images/test:pull,push") -> String {
    #"Bearer realm="\#(server.url)/token",service="test, registry",scope="\#(scope)""#
  }

  /// For ``TestRegistry/guardAccess(_:)``: 401 without a good token.
  public var access: @Sendable (TestRequest) -> TestReply? {
    { [box, challenge = challenge()] request in
      let value = request.headers["authorization"] ?? ""
      let now = monotonicNanoseconds() / 1_000_000
      let isGood = box.state.withLock { state in
        value.hasPrefix("Bearer ") && (state.ends[String(value.dropFirst(7))].map { now < $0 } ?? false)
      }
      return isGood ? nil : TestReply(401, headers: [("WWW-Authenticate", challenge)])
    }
  }

  /// Ends it.
  @discardableResult
  public func stop() -> Bool { server.stop() }
}
