extension RegistryError: CustomStringConvertible {
  /// What was asked of whom, what came back, what to do.
  public var description: String {
    switch self {
    case .library(let problem):
      "libcurl: \(problem); install it: apt-get install libcurl4"
    case .thread(let errno):
      "a thread for the network could not be started: \(errno)"
    case .settings(let field, let problem):
      "registry settings: `\(field)` \(problem)"
    case .invalidBlob(let blob, let problem):
      "blob \(blob.digest) in \(withoutSecrets(blob.repoBlobURL)): \(problem); correct `repoBlobUrl` and `digest`"
    case .invalidRange(let range, let room):
      "cannot fetch \(range) into \(room) bytes"
    case .deadline(let place, let last):
      "\(place.words): the time was over\(last.map { "; before that: \($0)" } ?? "")"
    case .cancelled:
      "cancelled"
    default:
      linkText ?? answerText
    }
  }

  /// Nobody answered, or not to the end.
  private var linkText: String? {
    switch self {
    case .name(let place, let curl):
      "\(place.words): \(curl); correct the host's name, or look at the name server"
    case .connection(let place, let curl):
      "\(place.words): \(curl); is the registry up, and is this the right host and port?"
    case .certificate(let place, let curl):
      "\(place.words): \(curl); give the file of the certificates that it is signed by, or let verification be skipped for this host"
    case .timeout(let place, let phase, let milliseconds):
      "\(place.words): \(phase.rawValue) took longer than \(milliseconds) ms"
    case .transfer(let place, let curl):
      "\(place.words): \(curl)"
    case .shortBody(let place, let wanted, let got):
      "\(place.words): the answer ended after \(got) of \(wanted) bytes"
    case .resting(let place, let failures, let milliseconds):
      "\(place.words): not asked for \(milliseconds) ms after \(failures) failures in a row"
    default: nil
    }
  }

  /// What was answered is not what was wanted.
  private var answerText: String {
    switch self {
    case .unauthorized(let place, let credentials):
      "\(place.words): 401, credentials: \(credentials); give credentials that may pull from this repository"
    case .forbidden(let place, let credentials):
      "\(place.words): 403, credentials: \(credentials); they must be allowed to pull from this repository"
    case .notFound(let place):
      "\(place.words): 404: there is no such blob; was the image pushed there?"
    case .status(let place, let code, let retryAfter):
      "\(place.words): status \(code)\(retryAfter.map { ", to be asked again in \($0) ms" } ?? "")"
    case .rangeIgnored(let place, let offset, let totalSize):
      "\(place.words): the server ignores ranges: it sent the whole blob of \(text(totalSize)) bytes instead of those from \(offset); it, or the proxy before it, must serve ranges"
    case .wrongRange(let place, let asked, let got):
      "\(place.words): asked for \(asked), got \(got.map { "`Content-Range: \($0)`" } ?? "no Content-Range")"
    case .outsideBlob(let place, let asked, let totalSize):
      "\(place.words): the blob has \(text(totalSize)) bytes, so not all of \(asked): it was cut, or is not this layer"
    case .sizeChanged(let place, let expected, let got):
      "\(place.words): the blob has \(got) bytes now, not \(expected): it is another one"
    case .encoded(let place, let encoding):
      "\(place.words): the answer is encoded as \(encoding), which nobody asked for: look at the proxy before the registry"
    case .multipart(let place):
      "\(place.words): the answer has several parts, although one range was asked for"
    case .redirect(let place, let problem):
      "\(place.words): a redirect that is not followed: \(problem)"
    case .token(let place, let realm, let problem, _):
      "\(place.words): the token server \(withoutSecrets(realm)): \(problem)"
    case .credentials(let place, let source, let problem):
      "\(place.words): credentials from \(source): \(problem)"
    default: ""
    }
  }

  private func text(_ size: UInt64?) -> String { size.map(String.init) ?? "an unknown number of" }
}

extension RegistryError.Place {
  /// How an error begins.
  var words: String { "blob \(blob) from \(url) (host \(host))" }
}
