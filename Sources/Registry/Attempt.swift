/// Where an attempt on one route stands: it may take several requests.
struct Attempt {
  let route: Route
  /// Who is asked next, without the peer's prefix.
  var url: WebAddress
  /// Only to learn where the blob is, or how large, without data.
  var isResolving = false
  /// URLs that redirected.
  var visited: Set<String> = []
  /// Seconds that the shortest of the redirects holds.
  var lifetime = UInt64.max
  var grant: Authorizer.Grant?
  /// Credentials that were not accepted.
  var refusals = 0
  var hasResolvedAnew = false
  var repetitions = 0
  /// Of the running exchange: bytes of the body to leave out, to take, and what its head said.
  var skip: UInt64 = 0
  var expected: UInt64 = 0
  var reply: RangeReply?

  init(route: Route) {
    self.route = route
    url = route.base
  }

  /// Credentials are for the registry or mirror only.
  var wantsGrant: Bool { url.origin == route.base.origin }

  /// What is really asked: the peer for the URL, unless it is about where the blob is.
  var hop: WebAddress? {
    guard case .peer(let peer) = route.via, !isResolving else { return url }
    return Route.peered(url, peer)
  }

  /// Whether ``hop`` is the peer.
  var isAtPeer: Bool { if case .peer = route.via { !isResolving } else { false } }
}
