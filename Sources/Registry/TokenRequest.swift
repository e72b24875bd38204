import JSON

/// One request to a token server: Docker's with GET, OAuth 2's with POST for a refresh token.
struct TokenRequest {
  let core: LoopCore
  let settings: RegistrySettings
  let key: Tokens.Key
  let place: RegistryError.Place

  struct Answer {
    let value: String
    let seconds: UInt64
  }

  /// Seconds of a token that does not say how long it is good for.
  private static let lifetime: UInt64 = 60

  func run(
    _ credentials: Credentials?, sizeLimit: Int, completion: @escaping (Result<Answer, RegistryError>) -> Void
  ) {
    let source = credentials?.source ?? settings.noCredentials
    let exchange: Exchange.Request
    switch credentials?.secret {
    case .bearer(let token)?:
      return completion(.success(Answer(value: token, seconds: Self.lifetime)))
    case .refreshToken(let token)?: exchange = post(token)
    default: exchange = get(credentials)
    }
    let proxies = settings.proxies
    attempt(exchange, proxies[...], sizeLimit) { result in completion(result.flatMap { read($0, source) }) }
  }

  /// Through the proxy, and without it when it is away.
  private func attempt(
    _ exchange: Exchange.Request, _ proxies: ArraySlice<Exchange.Proxy>, _ sizeLimit: Int,
    completion: @escaping (Result<SmallRequest.Answer, RegistryError>) -> Void
  ) {
    var exchange = exchange
    exchange.proxy = proxies.first ?? .environment
    SmallRequest.run(exchange, on: core, milliseconds: settings.limits.token, sizeLimit: sizeLimit) { result in
      switch result {
      case .success(let answer): completion(.success(answer))
      case .failure where proxies.count > 1:
        attempt(exchange, proxies.dropFirst(), sizeLimit, completion: completion)
      case .failure(let failure):
        completion(.failure(.token(place, realm: key.realm.url, problem: failure.words, isRetryable: true)))
      }
    }
  }

  private func get(_ credentials: Credentials?) -> Exchange.Request {
    var parts: [String] = []
    if let service = key.service { parts.append("service=\(percentEncoded(service))") }
    for scope in (key.scope ?? "").split(separator: " ") { parts.append("scope=\(percentEncoded(String(scope)))") }
    let separator = key.realm.query == nil ? "?" : "&"
    var request = base(key.realm.url + (parts.isEmpty ? "" : separator + parts.joined(separator: "&")))
    if let basic = credentials?.basic { request.headers.append("Authorization: \(basic)") }
    return request
  }

  private func post(_ refreshToken: String) -> Exchange.Request {
    var parts = ["grant_type=refresh_token", "client_id=warmblk", "refresh_token=\(percentEncoded(refreshToken))"]
    if let service = key.service { parts.append("service=\(percentEncoded(service))") }
    if let scope = key.scope { parts.append("scope=\(percentEncoded(scope))") }
    var request = base(key.realm.url)
    request.form = parts.joined(separator: "&")
    return request
  }

  private func base(_ url: String) -> Exchange.Request {
    var request = Exchange.Request(
      url: url, tls: settings.tls(for: key.realm, isRegistry: true), limits: settings.limits)
    request.userAgent = settings.userAgent
    return request
  }

  private func read(_ answer: SmallRequest.Answer, _ source: String) -> Result<Answer, RegistryError> {
    func fail(_ problem: String, _ isRetryable: Bool) -> Result<Answer, RegistryError> {
      .failure(.token(place, realm: key.realm.url, problem: problem, isRetryable: isRetryable))
    }
    let status = answer.head.status
    switch status {
    case 200: break
    case 401, 403:
      return fail("status \(status), credentials: \(source); give credentials that may pull", false)
    case 300..<400: return fail("status \(status): redirects of token servers are not followed", false)
    default: return fail("status \(status)", status == 408 || status == 429 || status >= 500)
    }
    let json = JSONValue(answer.body)
    guard let token = json?["token"]?.string ?? json?["access_token"]?.string, !token.isEmpty,
      token.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
    else { return fail("the answer is no JSON with `token` or `access_token`", true) }
    return .success(Answer(value: token, seconds: json?["expires_in"]?.integer ?? Self.lifetime))
  }
}
