import Glibc
import Posix
import Testing

/// nginx with one server on loopback, in one process. It counts what is asked of it, as `Registry` does.
final class WebServer {
  let port: UInt16
  private let log: String
  private let program: Program

  /// `lines` stand in the `server` block; `options` is what `listen` has beside the address. Its files are in `scratch`,
  /// where their names begin with the port.
  init(port: UInt16, options: String = "", in scratch: Scratch, _ lines: String) throws {
    self.port = port
    func file(_ name: String) -> String { scratch("\(port).\(name)") }
    log = file("requests")
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(file("temp"));" }
    let config = """
      daemon off; master_process off; pid \(file("pid")); error_log \(file("errors"));
      events {}
      http {
        log_format counts '$request_method $request_uri $status $body_bytes_sent'; access_log \(log) counts;
        client_max_body_size 0; \(temporary.joined(separator: " "))
        server {
          listen 127.0.0.1:\(port) \(options);
          \(lines)
        }
      }
      """
    try scratch.write("\(port).conf", config)
    let program = try Program(["nginx", "-c", file("conf"), "-p", scratch.path])
    self.program = program
    let isUp = Deadline(milliseconds: 20_000).wait(interval: 20) { Loopback.answers(port) || !program.isRunning }
    try #require(isUp && program.isRunning, "nginx does not listen: \(Guest.text(file("errors")))")
  }

  deinit { stop() }

  /// Kills it: connections end, and nobody listens any more.
  func stop() {
    program.signal(SIGKILL)
    _ = try? program.wait(seconds: 5)
  }

  /// All requests that were answered to their end.
  var requests: [Registry.Request] {
    Guest.text(log).split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard words.count == 4, let status = Int(words[2]), let bytes = Int(words[3]) else { return nil }
      return Registry.Request(method: String(words[0]), path: String(words[1]), status: status, bytes: bytes)
    }
  }
}
