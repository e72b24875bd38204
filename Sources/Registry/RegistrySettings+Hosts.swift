extension RegistrySettings {
  /// What is set for the host of `address`: by `host:port`, else by `host`.
  func host(_ address: WebAddress) -> Host {
    hosts[address.authority] ?? hosts["\(address.host):\(address.port)"] ?? hosts[address.host] ?? Host()
  }

  /// `isRegistry`: not the target of a redirect, which is shown no client certificate unless it has one of its own.
  func tls(for address: WebAddress, isRegistry: Bool) -> Exchange.TLS {
    let host = host(address)
    return Exchange.TLS(
      skipVerify: host.skipTLSVerify, caFile: host.caFile ?? caFile,
      certificate: host.clientCertificate ?? (isRegistry ? clientCertificate : nil))
  }

  /// The ways to a server, in order.
  var proxies: [Exchange.Proxy] {
    switch proxy {
    case nil: [.environment]
    case ""?: [.none]
    case let address?: [.address(address), .none]
    }
  }

  /// Whether all addresses are ones. Files of certificates are read with each connection, and whose are not right shows
  /// in an error that names the blob, too. ``RegistryClient`` does not call it.
  public func check() throws(RegistryError) {
    if let peerPrefix { try check("peerPrefix", "is", peerPrefix) }
    for (name, host) in hosts.sorted(by: { $0.key < $1.key }) {
      for mirror in host.mirrors { try check("hosts[\(name)].mirrors", "has", mirror) }
    }
    for case .http(let url, _, _, _) in credentials { try check("credentials", "has", url) }
  }

  private func check(_ field: String, _ verb: String, _ url: String) throws(RegistryError) {
    if WebAddress(url) != nil { return }
    throw .settings(field: field, problem: "\(verb) \(withoutSecrets(url)): not an http or https URL")
  }
}
