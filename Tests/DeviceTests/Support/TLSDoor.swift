import Glibc
import Posix
import Testing

/// nginx in front of a registry, with a certificate that an authority of our own has signed.
final class TLSDoor {
  /// The authority's certificate.
  let authority: String
  private let program: Program

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
    let config = """
      daemon off; master_process off; pid \(scratch("nginx.pid")); error_log \(scratch("nginx.log"));
      events {}
      http {
        access_log off; client_max_body_size 0; client_body_temp_path \(scratch("body")); proxy_temp_path \(scratch("temp"));
        fastcgi_temp_path \(scratch("temp")); uwsgi_temp_path \(scratch("temp")); scgi_temp_path \(scratch("temp"));
        server {
          listen 127.0.0.1:\(door) ssl http2;
          ssl_certificate \(scratch("door.pem")); ssl_certificate_key \(scratch("door.key"));
          location / { proxy_pass http://127.0.0.1:\(port); proxy_set_header Host $http_host; proxy_buffering off; }
        }
      }
      """
    try scratch.write("nginx.conf", config)
    let program = try Program(["nginx", "-c", scratch("nginx.conf"), "-p", scratch.path])
    self.program = program
    let isUp = Deadline(milliseconds: 20_000).wait(interval: 20) { Loopback.answers(door) || !program.isRunning }
    try #require(isUp && program.isRunning, "nginx does not listen: \(Guest.text(scratch("nginx.log")))")
  }

  deinit {
    program.signal(SIGKILL)
    _ = try? program.wait(seconds: 5)
  }
}
