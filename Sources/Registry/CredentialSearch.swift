import JSON
import Posix

/// Looks for credentials in all sources, in order. Of the loop's thread.
final class CredentialSearch: @unchecked Sendable {
  private let core: LoopCore
  private let settings: RegistrySettings
  private let blobURL: WebAddress
  private let completion: (Result<Credentials?, Failure>) -> Void

  /// A source that could not be used. There is no going on without it: the next one may have the credentials of
  /// somebody else.
  struct Failure: Error, Equatable {
    let source: String
    let problem: String
  }

  /// Bytes of a file or an answer at most.
  private static let sizeLimit = 1 << 20

  private init(
    _ core: LoopCore, _ settings: RegistrySettings, _ blobURL: WebAddress,
    _ completion: @escaping (Result<Credentials?, Failure>) -> Void
  ) {
    self.core = core
    self.settings = settings
    self.blobURL = blobURL
    self.completion = completion
  }

  /// Every token is a reason to search anew: passwords change. nil: no source has any for the blob at `blobURL`.
  static func run(
    on core: LoopCore, _ settings: RegistrySettings, for blobURL: WebAddress,
    completion: @escaping (Result<Credentials?, Failure>) -> Void
  ) {
    CredentialSearch(core, settings, blobURL, completion).look(from: 0)
  }

  private func look(from index: Int) {
    guard index < settings.credentials.count else { return completion(.success(nil)) }
    let source = settings.credentials[index]
    let then: (Result<Credentials.Secret?, Failure>) -> Void = { [self] result in
      switch result {
      case .success(nil): look(from: index + 1)
      case .success(let secret?): completion(.success(Credentials(secret: secret, source: source.words)))
      case .failure(let failure): completion(.failure(failure))
      }
    }
    switch source {
    case .docker(let path): readFile(path, source, docker, then)
    case .file(let path):
      readFile(path, source, { json, _ in .success(CredentialList.find(json, for: self.blobURL)) }, then)
    case .http(let url, let seconds, let caFile, let certificate):
      let tls = Exchange.TLS(caFile: caFile ?? settings.caFile, certificate: certificate)
      ask(url, seconds, tls, socket: nil, source, then)
    case .unixSocket(let path, let seconds):
      ask("http://localhost/auth", seconds, Exchange.TLS(), socket: path, source, then)
    }
  }

  // MARK: Files and programs

  private typealias Reader = @Sendable (JSONValue, Deadline) -> Result<Credentials.Secret?, Failure>

  /// On a thread of its own: a home folder may be on a server that is away.
  private func readFile(
    _ path: String, _ source: CredentialSource, _ read: @escaping Reader,
    _ then: @escaping (Result<Credentials.Secret?, Failure>) -> Void
  ) {
    let deadline = Deadline(milliseconds: settings.limits.token)
    let box = Unchecked(then)
    core.work.run(on: core, name: "credentials") {
      () -> Result<Credentials.Secret?, Failure> in
      do throws(Errno) {
        let bytes = try Posix.readFile(path, limit: Self.sizeLimit)
        guard let json = JSONValue(bytes), json.members != nil else {
          return .failure(Failure(source: source.words, problem: "the file is no JSON object"))
        }
        return read(json, deadline)
      } catch {
        return error == .noEntry ? .success(nil) : .failure(Failure(source: source.words, problem: "\(error)"))
      }
    } completion: { result in
      box.value(result ?? .failure(Failure(source: source.words, problem: "no thread to read it could be started")))
    }
  }

  private var docker: Reader {
    let (blobURL, work) = (blobURL, core.work)
    return { json, deadline in
      for step in DockerConfig.steps(json, for: blobURL) {
        switch step {
        case .found(let secret): return .success(secret)
        case .helper(let program, let server):
          let helper = CredentialHelper(program: program, server: server, deadline: deadline) {
            work.isCancelled.load(ordering: .relaxed)
          }
          switch helper.run() {
          case .found(let secret): return .success(secret)
          case .none: continue
          case .failed(let problem): return .failure(Failure(source: "Docker's configuration", problem: problem))
          }
        }
      }
      return .success(nil)
    }
  }

  // MARK: Servers

  /// Upstream's credential servers: the value of `remote_url` is not escaped, as upstream has it.
  private func ask(
    _ url: String, _ seconds: Int, _ tls: Exchange.TLS, socket: String?, _ source: CredentialSource,
    _ then: @escaping (Result<Credentials.Secret?, Failure>) -> Void
  ) {
    func fail(_ problem: String) { then(.failure(Failure(source: source.words, problem: problem))) }
    guard let address = WebAddress("\(url)\(url.contains("?") ? "&" : "?")remote_url=\(blobURL.url)") else {
      return core.enqueue { fail("is no URL") }
    }
    var request = Exchange.Request(url: address.url, tls: tls, unixSocket: socket, limits: settings.limits)
    request.proxy = .none
    request.userAgent = settings.userAgent
    request.limits.connect = max(1, seconds) * 1000
    request.limits.firstByte = max(1, seconds) * 1000
    SmallRequest.run(request, on: core, milliseconds: max(1, seconds) * 1000, sizeLimit: Self.sizeLimit) {
      [blobURL] result in
      switch result {
      case .failure(let failure): fail(failure.words)
      case .success(let answer):
        guard answer.head.status == 200 else { return fail("status \(answer.head.status)") }
        guard let json = JSONValue(answer.body), json["success"]?.boolean == true, let data = json["data"] else {
          return fail("the answer is no JSON with `success` and `data`")
        }
        then(.success(CredentialList.find(data, for: blobURL)))
      }
    }
  }
}

extension CredentialSource {
  /// How errors name it.
  var words: String {
    switch self {
    case .docker(let path), .file(let path): path
    case .http(let url, _, _, _): withoutSecrets(url)
    case .unixSocket(let path, _): "the socket \(path)"
    }
  }
}

/// Carries what belongs to the loop's thread through a thread that does not touch it.
struct Unchecked<Value>: @unchecked Sendable {
  let value: Value

  init(_ value: Value) { self.value = value }
}
