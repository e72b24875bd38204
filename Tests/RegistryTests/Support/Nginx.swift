import Glibc
import Posix
import Registry
import TestRegistry
import TestSupport

/// Certificates by openssl, all of them signed by one authority of their own.
struct Certificates {
  let scratch: Scratch
  /// The authority's certificate.
  var authority: String { scratch("ca.pem") }

  init() throws {
    scratch = try Scratch()
    try make(authority: "ca")
  }

  private func openssl(_ arguments: String...) throws {
    try run(["openssl"] + arguments, log: scratch("openssl.log"))
  }

  private static let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

  /// One that is signed by itself: an authority, or somebody who would like to be one.
  func make(authority name: String) throws {
    try run(
      ["openssl", "req", "-x509"] + Self.curve
        + ["-keyout", scratch("\(name).key"), "-out", scratch("\(name).pem"), "-days", "2", "-subj", "/CN=\(name)"]
        + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], log: scratch("openssl.log"))
  }

  /// One that is signed by the authority, for `names` as openssl writes them.
  func make(_ name: String, names: String = "DNS:localhost,IP:127.0.0.1", days: Int = 2) throws {
    try scratch.write("\(name).ext", "subjectAltName=\(names)\n")
    try run(
      ["openssl", "req"] + Self.curve
        + ["-keyout", scratch("\(name).key"), "-out", scratch("\(name).csr"), "-subj", "/CN=\(name)"],
      log: scratch("openssl.log"))
    try openssl(
      "x509", "-req", "-in", scratch("\(name).csr"), "-CA", authority, "-CAkey", scratch("ca.key"), "-CAcreateserial",
      "-days", "\(days)", "-extfile", scratch("\(name).ext"), "-out", scratch("\(name).pem"))
  }

  /// A client's.
  func client(_ name: String) -> ClientCertificate {
    ClientCertificate(certificateFile: scratch("\(name).pem"), keyFile: scratch("\(name).key"))
  }
}

/// An nginx that serves one blob with TLS, on a port for each kind of server.
final class Nginx {
  let scratch: Scratch
  let bytes: [UInt8]
  let digest: String
  private let pid: pid_t
  /// By the name of the server.
  let ports: [String: UInt16]

  static let isThere = hasProgram("nginx") && hasProgram("openssl")
  static let absence = "nginx or openssl is missing: apt-get install nginx-light openssl"

  /// `servers`: the name, the certificate's name, and what else stands in the `server` block.
  init(_ certificates: Certificates, _ servers: [(name: String, certificate: String, lines: String)]) throws {
    scratch = certificates.scratch
    bytes = makeBlob(300_000)
    digest = RegistryTests.digest(7)
    try makeDirectories(scratch("www/v2/images/test/blobs"))
    try writeFileAtomically(scratch("www/v2/images/test/blobs/\(digest)"), bytes)
    var ports: [String: UInt16] = [:]
    var blocks = ""
    for server in servers {
      let port = try freePort()
      ports[server.name] = port
      blocks += """
        server {
          listen 127.0.0.1:\(port) ssl\(server.name.hasSuffix("h2") ? " http2" : "");
          ssl_certificate \(scratch("\(server.certificate).pem"));
          ssl_certificate_key \(scratch("\(server.certificate).key"));
          root \(scratch("www"));
          \(server.lines)
        }

        """
    }
    self.ports = ports
    let folder = scratch("tmp")
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(folder);" }
    try scratch.write(
      "nginx.conf",
      """
      daemon off; master_process off; pid \(scratch("pid")); error_log \(scratch("error.log"));
      events { worker_connections 512; }
      http {
        log_format short '$server_port $connection $server_protocol $status "$http_range" "$ssl_client_s_dn"';
        access_log \(scratch("access.log")) short; \(temporary.joined(separator: " "))
        \(blocks)
      }
      """)
    // Debian has it where not everybody's PATH leads.
    let program = access("/usr/sbin/nginx", X_OK) == 0 ? "/usr/sbin/nginx" : "nginx"
    let command = [program, "-p", scratch.path, "-c", scratch("nginx.conf")]
    pid = try spawn(command, log: scratch("nginx.log"))
    let isUp = Deadline(milliseconds: 10_000).wait { ports.values.allSatisfy(isListening) }
    guard isUp else {
      kill(pid, SIGKILL)
      let words = (try? readFile(scratch("error.log"))).map { String(decoding: $0, as: UTF8.self) } ?? ""
      throw ProgramFailed(command: command, status: -1, output: words)
    }
  }

  deinit {
    kill(pid, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
  }

  func blob(_ server: String, host: String = "localhost") -> BlobLocation {
    BlobLocation(repoBlobURL: "https://\(host):\(ports[server]!)/v2/images/test/blobs", digest: digest)
  }

  func isRight(_ outcome: Harness.Outcome) -> Bool {
    guard let range = outcome.success?.range else { return false }
    return outcome.bytes == Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)])
  }

  /// Lines of the access log: port, connection, protocol, status, range, client.
  var log: [[String]] {
    let text = (try? readFile(scratch("access.log"))).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return text.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
  }
}

/// A port on which nobody listens, for a moment at least.
private func freePort() throws(Errno) -> UInt16 {
  let server = try TestServer { _ in TestReply(404) }
  defer { server.stop() }
  return server.port
}

private func isListening(_ port: UInt16) -> Bool {
  let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  defer { close(client) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
  return withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
    }
  }
}
