import Crypto
import FoundationEssentials
import Glibc
import Posix
import TestRegistry

/// A registry that keeps its blobs elsewhere, as those of the clouds do: it sends whoever asks for one to nginx, with a
/// signature that ends soon, and nginx refuses what is not signed, or is so no more.
final class SignedBlobs {
  /// How the end of its signature is told in a URL.
  enum Kind: String, CaseIterable {
    /// As all stores do whose words for it are known.
    case known = "expires"
    /// In a word that nobody knows: the end shows only when it has come.
    case opaque = "until"
  }

  private let front: TestServer
  private let store: WebServer

  /// In front of the blobs of `registry`; signatures hold for `seconds`, or up to one less.
  init(of registry: Registry, seconds: Int, in scratch: Scratch) throws {
    store = try WebServer(
      port: 5003, in: scratch,
      """
      location /data/ {
        secure_link $arg_signature,$arg_expires$arg_until;
        secure_link_md5 "$secure_link_expires$uri secret";
        # Empty: not signed; 0: it has ended.
        if ($secure_link != 1) { return 403; }
        proxy_pass \(registry.repoBlobURL)/;
      }
      """)
    let storePort = store.port
    front = try TestServer(port: 5002) { request in
      let words = request.path.split(separator: "/")
      guard words.count == 4 else { return TestReply(404) }
      let path = "/data/\(words[3])"
      let end = time(nil) + seconds
      let target = "http://127.0.0.1:\(storePort)\(path)?signature=\(Self.signature(path, end))&\(words[1])=\(end)"
      return TestReply(307, headers: [("Location", target)])
    }
  }

  deinit { front.stop() }

  func repoBlobURL(_ kind: Kind) -> String { "\(front.url)/v2/\(kind.rawValue)/blobs" }

  /// How many URLs were asked for.
  func signed(_ kind: Kind) -> Int { front.requests.count { $0.path.hasPrefix("/v2/\(kind.rawValue)/") } }

  /// What was asked of nginx.
  func requests(_ kind: Kind) -> [Registry.Request] { store.requests.filter { $0.path.contains("&\(kind.rawValue)=") } }

  /// As nginx wants it: base64 with the letters of URLs.
  private static func signature(_ path: String, _ end: Int) -> String {
    let hash = Data(Insecure.MD5.hash(data: Data("\(end)\(path) secret".utf8))).base64EncodedString()
    return String(
      hash.compactMap { letter in
        switch letter {
        case "+": "-"
        case "/": "_"
        case "=": nil
        default: letter
        }
      })
  }
}
