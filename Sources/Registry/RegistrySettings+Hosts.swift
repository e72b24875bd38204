import Glibc
import Posix

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

  /// Whether everything can be used: addresses, files of certificates. At the start, so that a mistake shows before the
  /// first read; ``RegistryClient`` does not call it.
  public func check() throws(RegistryError) {
    try check("caFile", caFile)
    try check("clientCertificate", clientCertificate)
    if let peerPrefix, WebAddress(peerPrefix) == nil {
      throw .settings(field: "peerPrefix", problem: "is \(withoutSecrets(peerPrefix)): not an http or https URL")
    }
    for (name, host) in hosts.sorted(by: { $0.key < $1.key }) {
      try check("hosts[\(name)].caFile", host.caFile)
      try check("hosts[\(name)].clientCertificate", host.clientCertificate)
      for mirror in host.mirrors where WebAddress(mirror) == nil {
        throw .settings(
          field: "hosts[\(name)].mirrors", problem: "has \(withoutSecrets(mirror)): not an http or https URL")
      }
    }
    for case .http(let url, _, let caFile, let certificate) in credentials {
      guard WebAddress(url) != nil else {
        throw .settings(field: "credentials", problem: "has \(withoutSecrets(url)): not an http or https URL")
      }
      try check("credentials.caFile", caFile)
      try check("credentials.clientCertificate", certificate)
    }
  }

  private func check(_ field: String, _ file: String?) throws(RegistryError) {
    guard let file, access(file, R_OK) != 0 else { return }
    throw .settings(field: field, problem: "is \(file): \(Errno.last)")
  }

  private func check(_ field: String, _ certificate: ClientCertificate?) throws(RegistryError) {
    try check("\(field).certificateFile", certificate?.certificateFile)
    try check("\(field).keyFile", certificate?.keyFile)
  }
}
