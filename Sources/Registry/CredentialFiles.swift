import JSON

/// Upstream's `cred.json`, and the answers of its credential servers (spec: image.md, section 5).
enum CredentialList {
  /// `auths` of `json`: the first entry in the file's order whose name is `host`, `host/a`, `host/a/b` … of `blobURL`
  /// counts, as upstream has it; nil when there is none.
  static func find(_ json: JSONValue, for blobURL: WebAddress) -> Credentials.Secret? {
    let names = Set(names(of: blobURL))
    for entry in json["auths"]?.members ?? [] where names.contains(entry.key) {
      // One with a damaged `auth` is passed over.
      if let secret = secret(entry.value) { return secret }
    }
    return nil
  }

  /// `host`, `host/a`, `host/a/b` of `…/v2/a/b/blobs/<digest>`: the shortest first.
  static func names(of blobURL: WebAddress) -> [String] {
    var name = blobURL.authority
    var names = [name]
    for part in repository(of: blobURL).split(separator: "/") {
      name += "/" + part
      names.append(name)
    }
    return names
  }

  /// `a/b` of `…/v2/a/b/blobs/<digest>`; empty for another URL.
  static func repository(of blobURL: WebAddress) -> String {
    let parts = blobURL.path.split(separator: "/")
    guard let version = parts.firstIndex(of: "v2"), let end = parts.lastIndex(of: "blobs"), end > version else {
      return ""
    }
    return parts[(version + 1)..<end].joined(separator: "/")
  }

  /// `auth` counts before `username` and `password`.
  static func secret(_ entry: JSONValue) -> Credentials.Secret? {
    if let auth = entry["auth"]?.string, !auth.isEmpty { return Credentials.Secret(encoded: auth) }
    guard let user = entry["username"]?.string, !user.isEmpty else { return nil }
    return .password(user: user, entry["password"]?.string ?? "")
  }
}

/// Docker's `config.json`, as docker and podman read it.
enum DockerConfig {
  /// Where to look, in order, for what is good for `blobURL`.
  enum Step: Equatable {
    case found(Credentials.Secret)
    /// The program's name after `docker-credential-`, and the name to ask it for.
    case helper(program: String, server: String)
  }

  /// The host's own helper and nothing else; without one the helper for all, then the longest name in `auths`.
  static func steps(_ json: JSONValue, for blobURL: WebAddress) -> [Step] {
    let servers = serverNames(blobURL.authority)
    for server in servers {
      guard let program = json["credHelpers"]?[server]?.string, !program.isEmpty else { continue }
      return [.helper(program: program, server: server)]
    }
    var steps: [Step] = []
    if let program = json["credsStore"]?.string, !program.isEmpty {
      steps.append(.helper(program: program, server: servers[0]))
    }
    if let secret = longest(json["auths"]?.members ?? [], blobURL) { steps.append(.found(secret)) }
    return steps
  }

  /// Docker Hub has another name in configurations than on the network.
  static func serverNames(_ authority: String) -> [String] {
    ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(authority)
      ? ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"] : [authority]
  }

  /// Names may have a scheme, and docker's old ones a `/v1/` or `/v2/`; podman's may have a part of the repository.
  private static func longest(_ entries: [JSONValue.Member], _ blobURL: WebAddress) -> Credentials.Secret? {
    let repository = CredentialList.names(of: blobURL).map { String($0.dropFirst(blobURL.authority.count)) }
    for path in repository.reversed() {
      for server in serverNames(blobURL.authority).map(plain) {
        for entry in entries where plain(entry.key) == server + path {
          if let secret = secret(entry.value) { return secret }
        }
      }
    }
    return nil
  }

  private static func plain(_ name: String) -> String {
    var name = name[...]
    for scheme in ["https://", "http://"] where name.hasPrefix(scheme) { name = name.dropFirst(scheme.count) }
    while name.hasSuffix("/") { name = name.dropLast() }
    for version in ["/v1", "/v2"] where name.hasSuffix(version) { name = name.dropLast(version.count) }
    return String(name)
  }

  private static func secret(_ entry: JSONValue) -> Credentials.Secret? {
    if let token = entry["registrytoken"]?.string, !token.isEmpty { return .bearer(token) }
    if let token = entry["identitytoken"]?.string, !token.isEmpty { return .refreshToken(token) }
    return CredentialList.secret(entry)
  }

  /// The answer of `docker-credential-NAME get`; nil when it is none.
  static func helperAnswer(_ bytes: [UInt8]) -> Credentials.Secret? {
    guard let json = JSONValue(bytes), let user = json["Username"]?.string, let secret = json["Secret"]?.string else {
      return nil
    }
    return user == "<token>" ? .refreshToken(secret) : .password(user: user, secret)
  }
}
