import Glibc
import Posix
import Testing

/// Debian's `docker-registry` on loopback. It counts what is asked of it: its access log has
/// a line for each request that it has answered.
final class Registry {
  /// A request that was answered.
  struct Request: Equatable {
    var method: String
    var path: String
    var status: Int
    /// Bytes of the answer's body.
    var bytes: Int
  }

  let port: UInt16
  private let folder: Scratch
  private let users: String?
  private let blobs: String
  private var program: Program?
  /// What those said that were stopped.
  private var past = ""

  /// Starts one. `users` is a file of htpasswd's, bcrypt; without it everybody may do everything. `blobs` is the folder
  /// that it keeps blobs in, and may have some already; without it they are in memory and go with it.
  init(port: UInt16 = 5000, users: String? = nil, blobs: String? = nil) throws {
    self.port = port
    self.users = users
    folder = try Scratch(.tmpfs)
    self.blobs = blobs ?? folder("blobs")
    try start()
  }

  deinit { try? stop() }

  /// What an image's configuration has as `repoBlobUrl`.
  var repoBlobURL: String { "http://127.0.0.1:\(port)/v2/images/test/blobs" }

  func start() throws {
    if program != nil { return }
    let access = users.map { "auth: {htpasswd: {realm: test, path: \($0)}}\n" } ?? ""
    let config = """
      version: 0.1
      log: {level: error, accesslog: {disabled: false}}
      storage:
        filesystem: {rootdirectory: \(blobs)}
        maintenance: {uploadpurging: {enabled: false}}
      http: {addr: "127.0.0.1:\(port)", secret: test}
      \(access)
      """
    try folder.write("config.yml", config)
    let program = try Program(["docker-registry", "serve", folder("config.yml")])
    self.program = program
    let isUp = Deadline(milliseconds: 30_000).wait(interval: 20) { Loopback.answers(port) || !program.isRunning }
    try #require(
      isUp && program.isRunning,
      "docker-registry does not listen: \((try? program.wait(seconds: 0)).map { "\($0)" } ?? "")")
  }

  /// Kills it, as a machine that loses its power would: connections end, and nobody listens any more.
  func stop() throws {
    guard let program else { return }
    self.program = nil
    program.signal(SIGKILL)
    past += try program.wait(seconds: 10).output
  }

  /// Stops it in the middle of what it is doing: it takes connections, and never answers.
  func pause() { program?.signal(SIGSTOP) }
  func goOn() { program?.signal(SIGCONT) }

  // MARK: Blobs

  /// Pushes files; what the registry has of them.
  func push(_ files: [String], credentials: String? = nil) throws -> [RemoteLayer] {
    let script = #"""
      set -euo pipefail
      url=$1 options=$2
      shift 2
      for file; do
        digest=$(sha256sum <"$file")
        digest=sha256:${digest%% *}
        location=$(curl -sSf $options -o /dev/null -w '%header{location}' -X POST "$url/uploads/")
        curl -sSf $options -o /dev/null -X PUT -H 'Content-Type: application/octet-stream' -T "$file" "$location&digest=$digest"
        echo "$digest $(stat -c %s "$file")"
      done
      """#
    let options = credentials.map { "-u \($0)" } ?? ""
    let outcome = try Program(["bash", "-c", script, "push", repoBlobURL, options] + files).wait(seconds: 120)
    try #require(outcome.succeeded, "\(outcome)")
    return outcome.output.split(separator: "\n").map { line in
      let words = line.split(separator: " ")
      return RemoteLayer(digest: String(words[0]), size: Int(words[1]) ?? 0)
    }
  }

  // MARK: Counts

  /// All requests since it was made.
  func requests() throws -> [Request] {
    let text = past + (try program?.printed() ?? "")
    // The last line may be half written.
    guard let end = text.lastIndex(of: "\n") else { return [] }
    return text[...end].split(separator: "\n").compactMap(Self.request)
  }

  /// Requests for blobs while `body` ran. The registry writes its line after the last byte, so it is given a moment.
  func requests<R>(during body: () throws -> R) throws -> (R, [Request]) {
    let before = try requests().count
    let result = try body()
    var count = -1
    _ = Deadline(milliseconds: 3000).wait(interval: 100) {
      defer { count = (try? requests().count) ?? 0 }
      return count == (try? requests().count)
    }
    return (result, try requests()[before...].filter { $0.path.contains("/blobs/sha256:") })
  }

  /// A line of the common log format.
  private static func request(_ line: Substring) -> Request? {
    let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
    guard parts.count > 2 else { return nil }
    let words = parts[1].split(separator: " ")
    let numbers = parts[2].split(separator: " ").compactMap { Int($0) }
    guard words.count == 3, numbers.count == 2 else { return nil }
    return Request(method: String(words[0]), path: String(words[1]), status: numbers[0], bytes: numbers[1])
  }
}

/// A layer as a registry has it.
struct RemoteLayer: Sendable {
  var digest: String
  var size: Int
}

/// The guest's own network.
enum Loopback {
  /// Whether somebody takes connections at that port.
  static func answers(_ port: UInt16) -> Bool {
    let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { return false }
    defer { close(number) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
