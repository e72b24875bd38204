import Posix

/// Tokens of the token servers, one request at a time for each. Of the loop's thread.
final class Tokens {
  /// What a token is good for. The registry and the repository are part of it because credentials depend on them.
  struct Key: Hashable {
    var realm: WebAddress
    var service: String?
    var scope: String?
    var registry: String
    var repository: String
  }

  struct Token: Equatable {
    var value: String
    /// Which source of credentials it was got with.
    var source: String
  }

  private final class Entry {
    var token: Token?
    var expires: UInt64 = 0
    var refreshes: UInt64 = 0
    var isRunning = false
    var waiters: [(Result<Token, RegistryError>) -> Void] = []

    /// Renewed when a quarter of its time is left; not used for the last tenth, or the last 5 s.
    func keep(_ token: Token, from start: UInt64, seconds: UInt64) -> Token {
      let life = min(seconds, 86_400) * 1_000_000_000
      self.token = token
      refreshes = start + life / 4 * 3
      expires = start + life - min(life / 10, 5_000_000_000)
      return token
    }
  }

  private let core: LoopCore
  private let settings: RegistrySettings
  private var entries: [Key: Entry] = [:]

  /// Bytes of an answer at most: tokens have some KB.
  private static let sizeLimit = 128 << 10
  /// Tokens at most, of which the expired ones are dropped first.
  private static let countLimit = 1024

  init(core: LoopCore, settings: RegistrySettings) {
    self.core = core
    self.settings = settings
  }

  /// The completion is called at once when there is a token. One that will end soon is used, and renewed meanwhile.
  func token(
    _ key: Key, for blobURL: WebAddress, _ place: RegistryError.Place,
    completion: @escaping (Result<Token, RegistryError>) -> Void
  ) {
    let entry = entry(key)
    let now = monotonicNanoseconds()
    if let token = entry.token, now < entry.expires {
      if now >= entry.refreshes, !entry.isRunning { request(key, entry, blobURL, place) }
      return completion(.success(token))
    }
    entry.waiters.append(completion)
    if !entry.isRunning { request(key, entry, blobURL, place) }
  }

  /// The registry refused it.
  func refuse(_ key: Key, _ value: String) {
    guard let entry = entries[key], entry.token?.value == value else { return }
    entry.token = nil
  }

  private func entry(_ key: Key) -> Entry {
    if let entry = entries[key] { return entry }
    if entries.count >= Self.countLimit {
      let now = monotonicNanoseconds()
      entries = entries.filter { $0.value.isRunning || now < $0.value.expires }
    }
    let entry = Entry()
    entries[key] = entry
    return entry
  }

  private func request(_ key: Key, _ entry: Entry, _ blobURL: WebAddress, _ place: RegistryError.Place) {
    entry.isRunning = true
    let request = TokenRequest(core: core, settings: settings, key: key, place: place)
    CredentialSearch.run(on: core, settings, for: blobURL) { [self] result in
      switch result {
      case .failure(let failure):
        finish(entry, .failure(.credentials(place, source: failure.source, problem: failure.problem)))
      case .success(let credentials):
        let start = monotonicNanoseconds()
        let source = credentials?.source ?? settings.noCredentials
        request.run(credentials, sizeLimit: Self.sizeLimit) { result in
          self.finish(
            entry,
            result.map { answer in
              entry.keep(Token(value: answer.value, source: source), from: start, seconds: answer.seconds)
            })
        }
      }
    }
  }

  private func finish(_ entry: Entry, _ result: Result<Token, RegistryError>) {
    entry.isRunning = false
    let waiters = entry.waiters
    entry.waiters = []
    for waiter in waiters { waiter(result) }
  }
}

extension RegistrySettings {
  /// How errors say that there were no credentials.
  var noCredentials: String {
    credentials.isEmpty
      ? "none, and no source of them is configured"
      : "none in \(credentials.map(\.words).joined(separator: ", "))"
  }
}
