/// One way to the bytes of a blob: who is asked for it, and through whom.
struct Route: Equatable {
  /// The blob's URL at the registry or at a mirror.
  let base: WebAddress
  let isMirror: Bool
  let via: Via

  enum Via: Equatable {
    case proxy(Exchange.Proxy)
    /// Upstream's `p2pConfig`: this address, a slash, the URL.
    case peer(WebAddress)
  }

  /// All ways, in order: the mirrors, then the registry; each through the peer, then the proxy, then directly. Empty
  /// when the blob's URL is none.
  static func all(_ blob: BlobLocation, _ settings: RegistrySettings) -> [Route] {
    guard let origin = WebAddress(blob.url) else { return [] }
    let mirrors = settings.host(origin).mirrors.compactMap { mirror(of: origin, $0) }
    let peers = settings.peerPrefix.flatMap(WebAddress.init).map { [Via.peer($0)] } ?? []
    let vias = peers + settings.proxies.map { .proxy($0) }
    return (mirrors.map { ($0, true) } + [(origin, false)]).flatMap { base, isMirror in
      vias.map { Route(base: base, isMirror: isMirror, via: $0) }
    }
  }

  /// `base` takes the place of scheme, host and port; its own `/v2` is that of the blob's path.
  static func mirror(of origin: WebAddress, _ base: String) -> WebAddress? {
    var text = base[...]
    while text.hasSuffix("/") { text = text.dropLast() }
    if text.hasSuffix("/v2"), origin.target.hasPrefix("/v2/") { text = text.dropLast(3) }
    return WebAddress(text + origin.target)
  }

  /// `address` as the peer is asked for it.
  static func peered(_ address: WebAddress, _ peer: WebAddress) -> WebAddress? {
    let prefix = peer.url
    return WebAddress((prefix.hasSuffix("/") ? String(prefix.dropLast()) : prefix) + "/" + address.url)
  }
}
