import CCurl
import Posix

/// From the end of an exchange to what is next.
extension Fetch {
  /// Redirects of one attempt at most.
  private static let redirectLimit = 10
  /// Requests of one attempt that bring no redirect and no refusal at most: an answer may be a part of what was asked.
  private static let repetitionLimit = 10_000
  /// Seconds for which it is believed that a registry keeps a blob itself, so that a peer can be asked right away.
  private static let selfLifetime: UInt64 = 300

  func ended(_ end: Exchange.End, _ host: HostState) {
    guard case .exchanging(let exchange, _) = state else { return }
    state = .idle
    if exchange.head != nil { host.isMultiplexed = exchange.connection.httpVersion == 2 }
    host.leave()
    switch end {
    case .complete(let head), .stopped(let head): answer(head, exchange, host)
    case .failed(let code, let words): broken(code, words, exchange, host)
    case .timeout(let phase, let milliseconds):
      unanswered(exchange, host, isProxy: phase == .connecting && proxyHost != nil)
      fail(.timeout(place(exchange, host), phase, milliseconds: milliseconds))
    }
  }

  // MARK: An answer

  private func answer(_ head: ResponseHead, _ exchange: Exchange, _ host: HostState) {
    if [200, 206, 416].contains(head.status), !attempt.isResolving { return data(exchange, host) }
    let place = place(exchange, host)
    switch head.status {
    case 200, 206, 416: resolved(head, place)
    case _ where head.isRedirect: redirected(head, place)
    case 401, 403: refused(head, place)
    case 404, 410:
      if !resolvesAnew() { fail(.notFound(place)) }
    default:
      if head.status < 500, head.status != 429, resolvesAnew() { return }
      let milliseconds = retryAfter(head)
      if let milliseconds { host.rest(milliseconds: min(milliseconds, limits.retryAfterMax)) }
      fail(.status(place, head.status, retryAfter: milliseconds))
    }
  }

  private func data(_ exchange: Exchange, _ host: HostState) {
    if case .data? = attempt.reply, attempt.expected == 0, isFilled { return succeed(exchange, host) }
    let place = place(exchange, host)
    switch attempt.reply {
    case .data(let got, _, _)?:
      if attempt.expected > 0 {
        let wanted = got.upperBound - got.lowerBound
        return fail(.shortBody(place, wanted: wanted, got: wanted - attempt.expected))
      }
      // The server sent less than was asked for, and said so.
      again(place)
    case .askAgain(let range, let total)?:
      host.ignoresSuffix = true
      self.range = range
      totalSize = total
      again(place)
    case .wrong(let problem)?: fail(error(problem, place))
    case nil: fail(.transfer(place, curl: "an answer without a head"))
    }
  }

  private func again(_ place: RegistryError.Place) {
    attempt.repetitions += 1
    guard attempt.repetitions <= Self.repetitionLimit else {
      return fail(.transfer(place, curl: "the answers are too short to get to an end"))
    }
    ask()
  }

  private func error(_ problem: RangeReply.Problem, _ place: RegistryError.Place) -> RegistryError {
    let asked = "bytes=\(rest.header)"
    return switch problem {
    case .wrongRange(let got): .wrongRange(place, asked: asked, got: got)
    case .rangeIgnored(let offset, let total): .rangeIgnored(place, offset: offset, totalSize: total)
    case .outside(let total): .outsideBlob(place, asked: asked, totalSize: total)
    case .sizeChanged(let expected, let got): .sizeChanged(place, expected: expected, got: got)
    case .encoded(let encoding): .encoded(place, encoding: encoding)
    case .multipart: .multipart(place)
    }
  }

  /// The answer to a request for the first byte, which is only about where the blob is and how large.
  private func resolved(_ head: ResponseHead, _ place: RegistryError.Place) {
    let total: UInt64?
    switch head.contentRange.flatMap(ContentRange.init) {
    case .bytes(_, let size)?: total = size
    case .unsatisfied(let size)?: total = size
    case nil: total = head.status == 200 ? head.contentLength : nil
    }
    guard let total else { return fail(.wrongRange(place, asked: "bytes=0-0", got: head.contentRange)) }
    if let totalSize, totalSize != total {
      return fail(.sizeChanged(place, expected: totalSize, got: total))
    }
    learn(total, head)
    if case .suffix(let count) = rest {
      let tail = RangeReply.tail(count, total)
      guard !tail.isEmpty else { return fail(.outsideBlob(place, asked: "bytes=-\(count)", totalSize: total)) }
      range = tail
    }
    if attempt.wantsGrant {
      client.memory.resolve(attempt.route.base.url, to: nil, seconds: Self.selfLifetime)
    }
    attempt.isResolving = false
    again(place)
  }

  private func redirected(_ head: ResponseHead, _ place: RegistryError.Place) {
    func refuse(_ problem: String) { fail(.redirect(place, problem: problem)) }
    if attempt.isAtPeer { return refuse("the peer sends elsewhere") }
    guard let location = head.location, let next = WebAddress(location: location, from: attempt.url) else {
      return refuse("\(head.status) without a Location that is an http or https URL")
    }
    if attempt.url.isSecure, !next.isSecure, !client.settings.host(attempt.url).allowPlainRedirects {
      return refuse("from https to \(withoutSecrets(next.url))")
    }
    attempt.visited.insert(attempt.url.url)
    if attempt.visited.contains(next.url) { return refuse("in a circle, back to \(withoutSecrets(next.url))") }
    if attempt.visited.count > Self.redirectLimit { return refuse("more than \(Self.redirectLimit) in a row") }
    let lifetime = SignedURL.lifetime(next, now: head.date.flatMap(core.curl.seconds) ?? wallClockSeconds())
    attempt.lifetime = min(attempt.lifetime, lifetime)
    if attempt.lifetime > 0 {
      client.memory.resolve(attempt.route.base.url, to: next, seconds: attempt.lifetime)
    } else {
      client.memory.unresolve(attempt.route.base.url)
    }
    attempt.url = next
    attempt.isResolving = false
    ask()
  }

  // MARK: Refusals

  private func refused(_ head: ResponseHead, _ place: RegistryError.Place) {
    guard attempt.wantsGrant, let grant = attempt.grant, head.status == 401 || !head.challenges.isEmpty else {
      if !resolvesAnew() { fail(refusal(head.status, place, attempt.grant?.source ?? "none for another host")) }
      return
    }
    attempt.refusals += 1
    switch client.authorizer.refused(grant, head.challenges, for: attempt.route.base) {
    // What was kept from before may have been too old; what was got for this attempt was not.
    case .same where attempt.refusals == 1: ask()
    case .other where attempt.refusals <= 3: ask()
    case .same, .other: fail(refusal(head.status, place, grant.source))
    case .unusable(let problem): fail(refusal(head.status, place, "\(grant.source); \(problem)"))
    }
  }

  private func refusal(_ status: Int, _ place: RegistryError.Place, _ credentials: String) -> RegistryError {
    status == 401 ? .unauthorized(place, credentials: credentials) : .forbidden(place, credentials: credentials)
  }

  /// The target of a redirect does not let us have the blob: its URL was good for some time only. Asks the registry for
  /// another one, once an attempt.
  private func resolvesAnew() -> Bool {
    guard attempt.url != attempt.route.base, !attempt.hasResolvedAnew else { return false }
    client.memory.unresolve(attempt.route.base.url)
    attempt.hasResolvedAnew = true
    attempt.url = attempt.route.base
    attempt.visited = []
    attempt.lifetime = .max
    if case .peer = attempt.route.via { attempt.isResolving = true }
    ask()
    return true
  }

  // MARK: No answer

  private func broken(_ code: CURLcode, _ words: String, _ exchange: Exchange, _ host: HostState) {
    let tunnel = exchange.connection.tunnelStatus
    let isProxy =
      proxyHost != nil
      && ([CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PROXY].contains(code) || tunnel >= 300)
    unanswered(exchange, host, isProxy: isProxy)
    let place = place(exchange, host)
    switch code {
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: fail(.name(place, curl: words))
    case CURLE_COULDNT_CONNECT, CURLE_PROXY: fail(.connection(place, curl: words))
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CIPHER,
      CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_ENGINE_INITFAILED:
      fail(.certificate(place, curl: words))
    case _ where wantsCertificate(code, words, exchange): fail(.certificate(place, curl: words))
    case CURLE_PARTIAL_FILE where attempt.reply != nil:
      let got = exchange.received
      fail(.shortBody(place, wanted: got + attempt.expected + attempt.skip, got: got))
    case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL: fail(.invalidBlob(blob, problem: words))
    default: fail(.transfer(place, curl: words))
    }
  }

  /// The server's alert that it wants a certificate from us, or another one.
  private func wantsCertificate(_ code: CURLcode, _ words: String, _ exchange: Exchange) -> Bool {
    exchange.head == nil && [CURLE_SSL_CONNECT_ERROR, CURLE_RECV_ERROR, CURLE_SEND_ERROR].contains(code)
      && words.contains("certificate")
  }

  /// Counts against who did not answer. A redirect's target that is away is asked for anew, too.
  private func unanswered(_ exchange: Exchange, _ host: HostState, isProxy: Bool) {
    guard exchange.head == nil else { return }
    (isProxy ? proxyHost ?? host : host).failed(self)
    if !isProxy, !attempt.isAtPeer, attempt.url != attempt.route.base {
      client.memory.unresolve(attempt.route.base.url)
    }
    // Whoever of the two it was not has not been tried.
    host.forget(self)
    proxyHost?.forget(self)
  }

  private func place(_ exchange: Exchange, _ host: HostState) -> RegistryError.Place {
    place(host.name, exchange.request.url)
  }

  /// Milliseconds.
  private func retryAfter(_ head: ResponseHead) -> Int? {
    guard let text = head.retryAfter else { return nil }
    if let seconds = parseDecimal(text) { return Int(min(seconds, 86_400)) * 1000 }
    guard let time = core.curl.seconds(text) else { return nil }
    let now = head.date.flatMap(core.curl.seconds) ?? wallClockSeconds()
    return time > now ? Int(min(time - now, 86_400)) * 1000 : 0
  }
}
