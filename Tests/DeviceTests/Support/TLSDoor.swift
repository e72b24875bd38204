import Posix

/// nginx in front of a registry, with a certificate that an authority of our own has signed.
struct TLSDoor {
  /// The authority's certificate.
  let authority: String
  private let server: WebServer

  init(to port: UInt16, at door: UInt16, in scratch: Scratch) throws {
    authority = scratch("ca.pem")
    let script = """
      set -eu
      cd \(scratch.path)
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1 -keyout door.key -out door.csr
      printf 'subjectAltName=IP:127.0.0.1' >names
      openssl x509 -req -in door.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out door.pem
      """
    try need("bash", "-c", "(\(script)) 2>&1")
    server = try WebServer(
      port: door, options: "ssl http2", in: scratch,
      """
      ssl_certificate \(scratch("door.pem")); ssl_certificate_key \(scratch("door.key"));
      location / { proxy_pass http://127.0.0.1:\(port); proxy_set_header Host $http_host; proxy_buffering off; }
      """)
  }
}
