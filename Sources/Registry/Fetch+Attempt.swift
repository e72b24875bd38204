import Posix

/// From a route to an exchange.
extension Fetch {
  func beginRound() {
    routeIndex = 0
    resting = []
    wasTried = false
    tryRoute()
  }

  func tryRoute() {
    while routes[routeIndex].isMirror, client.memory.isAbsent(routes[routeIndex].base.url) { routeIndex += 1 }
    attempt = Attempt(route: routes[routeIndex])
    let known = client.memory.resolution(attempt.route.base.url)
    if let target = known?.target { attempt.url = target }
    if case .peer = attempt.route.via, known == nil { attempt.isResolving = true }
    ask()
  }

  /// The next request of the attempt.
  func ask() {
    guard attempt.wantsGrant else {
      attempt.grant = nil
      return enter()
    }
    state = .authorizing
    let route = attempt.route
    let refusals = attempt.refusals
    client.authorizer.grant(for: route.base, place(route.base.authority, route.base.url)) { [self] result in
      // The time may have been over meanwhile; an attempt waits for one grant at a time.
      guard case .authorizing = state, refusals == attempt.refusals else { return }
      switch result {
      case .success(let grant):
        attempt.grant = grant
        enter()
      case .failure(let error): fail(error)
      }
    }
  }

  /// Waits for the host to be asked, unless it rests.
  private func enter() {
    if case .suffix = rest, let hop = attempt.hop, client.host(hop.origin, name: hop.authority).ignoresSuffix {
      attempt.isResolving = true
    }
    guard let hop = attempt.hop else {
      return fail(
        .redirect(place(attempt.url.authority, attempt.url.url), problem: "with the peer's prefix it is no URL"))
    }
    let host = client.host(hop.origin, name: hop.authority)
    for keeper in [proxyHost, host].compactMap(\.self) {
      if let end = keeper.restEnd(for: self) { return rest(at: keeper, until: end) }
    }
    state = .queued(host)
    let isEntered = host.enter(self) { [self] in
      guard case .queued = state else { return host.leave() }
      if let end = host.restEnd(for: self) {
        host.leave()
        return rest(at: host, until: end)
      }
      send(hop, host)
    }
    if isEntered { send(hop, host) }
  }

  /// What is known of the proxy of the route, when it has one of ours.
  var proxyHost: HostState? {
    guard case .proxy(.address(let address)) = attempt.route.via else { return nil }
    return client.host("proxy \(address)", name: withoutSecrets(address))
  }

  /// The host is not asked now. Another route is, or the fetch waits.
  private func rest(at host: HostState, until end: UInt64) {
    resting.append((host, end))
    if routeIndex + 1 < routes.count {
      routeIndex += 1
      return tryRoute()
    }
    guard !wasTried else {
      retryLater(lastError?.isRetryable ?? true)
      return
    }
    let (host, end) = resting.min { $0.end < $1.end }!
    let isTooLate = deadline.map { $0.nanoseconds < end } ?? false
    if isTooLate || client.isHasty {
      let milliseconds = Int((end - min(end, monotonicNanoseconds())) / 1_000_000)
      let place = place(host.name, routes[routeIndex].base.url)
      let error = lastError ?? .resting(place, failures: host.failures, milliseconds: milliseconds)
      return finish(.failure(isTooLate ? .deadline(place, last: error) : error))
    }
    state = .parked(host)
    parkedAt = host
    host.park(self) { [self] in if case .parked = state { beginRound() } }
  }

  private func send(_ hop: WebAddress, _ host: HostState) {
    wasTried = true
    proxyHost?.claim(self)
    var request = Exchange.Request(url: hop.url, limits: limits)
    request.range = attempt.isResolving ? "0-0" : rest.header
    request.userAgent = client.settings.userAgent
    request.tls = client.settings.tls(for: hop, isRegistry: attempt.wantsGrant || attempt.isAtPeer)
    if let header = attempt.grant?.header { request.headers.append("Authorization: \(header)") }
    switch attempt.route.via {
    case .peer where attempt.isAtPeer: request.proxy = .none
    case .peer: request.proxy = client.settings.proxies[0]
    case .proxy(let proxy): request.proxy = proxy
    }
    attempt.reply = nil
    let exchange = Exchange(
      request, onHead: { [self] in judge($0, host) }, onBody: { [self] in take($0) },
      onEnd: { [self] in ended($0, host) })
    state = .exchanging(exchange, host)
    core.start(exchange)
  }

  /// The head of an answer: whether its body is the data.
  private func judge(_ head: ResponseHead, _ host: HostState) -> Exchange.Verdict {
    for keeper in [proxyHost, host].compactMap(\.self) {
      guard let before = keeper.answered(self) else { continue }
      client.tell(.recovered(host: keeper.name, failures: before.failures, milliseconds: before.milliseconds))
    }
    guard !attempt.isResolving, [200, 206, 416].contains(head.status) else { return .discard }
    let reply = RangeReply(head, asked: rest, knownSize: totalSize, skipLimit: limits.skippedBytes)
    attempt.reply = reply
    guard case .data(let got, let skip, let total) = reply else { return .discard }
    if range == nil { range = got }
    if let total { learn(total, head) }
    attempt.skip = skip
    attempt.expected = got.upperBound - got.lowerBound
    return .deliver
  }

  /// The size of the blob. For other fetches only when the registry itself named it together with a range: anybody may
  /// answer 200 with a page of his own.
  func learn(_ total: UInt64, _ head: ResponseHead) {
    totalSize = total
    if head.status == 206, !attempt.route.isMirror, client.memory.size(blob.digest) == nil {
      client.memory.noteSize(total, blob.digest)
    }
  }

  private func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let skipped = Int(min(attempt.skip, UInt64(bytes.count)))
    attempt.skip -= UInt64(skipped)
    let data = UnsafeRawBufferPointer(rebasing: bytes[skipped...])
    if data.isEmpty { return true }
    let count = min(UInt64(data.count), attempt.expected)
    attempt.expected -= count
    // More than the head said is not data.
    return fill(UnsafeRawBufferPointer(rebasing: data[..<Int(count)])) && count == data.count
  }
}

extension FetchRange {
  /// As `Range` has it, without the unit.
  var header: String {
    switch self {
    case .bytes(let range): "\(range.lowerBound)-\(range.upperBound - 1)"
    case .suffix(let count): "-\(count)"
    }
  }
}
