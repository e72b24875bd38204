/// What `Authorization` each registry wants, learned from its challenges. Of the loop's thread.
final class Authorizer {
  /// What a request may show, and what it is, for when it is refused.
  struct Grant: Equatable {
    /// The value of `Authorization`; nil: none.
    var header: String?
    /// Which source of credentials it is from, for errors.
    var source: String
    fileprivate var key: Tokens.Key?
    fileprivate var token: String?
  }

  /// Of one repository of one registry.
  private struct Place: Hashable {
    let registry: String
    let repository: String
  }

  private enum Demand: Equatable {
    case nothing
    case basic(Grant?)
    case bearer(Tokens.Key)
  }

  private let core: LoopCore
  private let settings: RegistrySettings
  private let tokens: Tokens
  private var demands: [Place: Demand] = [:]
  /// Who waits for a search that is under way.
  private var searches: [Place: [(Result<Grant, RegistryError>) -> Void]] = [:]

  init(core: LoopCore, settings: RegistrySettings) {
    self.core = core
    self.settings = settings
    tokens = Tokens(core: core, settings: settings)
  }

  /// What to show for the blob at `blobURL`. The completion may be called at once.
  func grant(
    for blobURL: WebAddress, _ place: @autoclosure () -> RegistryError.Place,
    completion: @escaping (Result<Grant, RegistryError>) -> Void
  ) {
    switch demands[Self.place(blobURL)] ?? .nothing {
    case .nothing: completion(.success(Grant(header: nil, source: "not asked for")))
    case .basic(let grant?): completion(.success(grant))
    case .basic(nil): searchPassword(blobURL, place(), completion)
    case .bearer(let key):
      tokens.token(key, for: blobURL, place()) { result in
        completion(
          result.map { token in
            Grant(header: "Bearer \(token.value)", source: token.source, key: key, token: token.value)
          })
      }
    }
  }

  /// The registry refused `grant` with `challenges`. What it wants instead is known afterwards; false when it says
  /// nothing that can be done.
  func refused(_ grant: Grant, _ challenges: [String], for blobURL: WebAddress) -> Refusal {
    if let key = grant.key, let token = grant.token { tokens.refuse(key, token) }
    let place = Self.place(blobURL)
    let before = demands[place]
    let all = challenges.flatMap(Challenge.parse)
    if let bearer = all.first(where: { $0.scheme == "bearer" && $0.parameters["realm"] != nil }) {
      guard let realm = WebAddress(bearer.parameters["realm"]!) else { return .unusable("its realm is no URL") }
      if blobURL.isSecure, !realm.isSecure, !settings.host(blobURL).allowPlainRedirects {
        return .unusable("its realm \(withoutSecrets(realm.url)) is not https")
      }
      let key = Tokens.Key(
        realm: realm, service: bearer.parameters["service"], scope: bearer.parameters["scope"],
        registry: blobURL.origin, repository: place.repository)
      demands[place] = .bearer(key)
      return before == .bearer(key) ? .same : .other
    }
    if all.contains(where: { $0.scheme == "basic" }) {
      // Another request may have found new ones meanwhile.
      if case .basic(let current?)? = before, current != grant { return .other }
      demands[place] = .basic(nil)
      return grant.header?.hasPrefix("Basic ") == true ? .same : .other
    }
    return .unusable(all.isEmpty ? "it has no challenge" : "it wants \(all[0].scheme), which is not known here")
  }

  enum Refusal: Equatable {
    /// It wants what it got, perhaps newer.
    case same
    /// It wants something else.
    case other
    case unusable(String)
  }

  private func searchPassword(
    _ blobURL: WebAddress, _ errorPlace: RegistryError.Place,
    _ completion: @escaping (Result<Grant, RegistryError>) -> Void
  ) {
    let place = Self.place(blobURL)
    searches[place, default: []].append(completion)
    guard searches[place]!.count == 1 else { return }
    CredentialSearch.run(on: core, settings, for: blobURL) { [self] result in
      let result = grant(result, errorPlace)
      if case .success(let grant) = result { demands[place] = .basic(grant) }
      for waiter in searches.removeValue(forKey: place) ?? [] { waiter(result) }
    }
  }

  private func grant(
    _ found: Result<Credentials?, CredentialSearch.Failure>, _ place: RegistryError.Place
  ) -> Result<Grant, RegistryError> {
    switch found {
    case .failure(let failure):
      return .failure(.credentials(place, source: failure.source, problem: failure.problem))
    case .success(let credentials):
      guard let credentials, let header = credentials.basic else {
        let source = credentials.map { "\($0.source) has a token, and the registry wants a password" }
        return .failure(.unauthorized(place, credentials: source ?? settings.noCredentials))
      }
      return .success(Grant(header: header, source: credentials.source))
    }
  }

  private static func place(_ blobURL: WebAddress) -> Place {
    Place(registry: blobURL.origin, repository: CredentialList.repository(of: blobURL))
  }
}
