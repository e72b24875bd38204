import Posix
import Synchronization

/// A registry that serves blobs in ranges, counts what it serves, and fails as it is told to.
public final class TestRegistry: Sendable {
  /// What it has to say to one request for a blob instead of the right answer.
  public enum Fault: Sendable {
    /// Nothing: this request is answered well.
    case none
    /// Another answer altogether.
    case reply(TestReply)
    /// The right answer, changed.
    case change(@Sendable (TestRequest, inout TestReply) -> Void)
  }

  private struct State {
    var blobs: [String: [UInt8]] = [:]
    var faults: [Fault] = []
    var lasting: Fault?
    var access: (@Sendable (TestRequest) -> TestReply?)?
    var delay = 0
    var link: TestLink?
    var closes = false
    var counts: [String: Count] = [:]
  }

  /// What was asked of a blob.
  public struct Count: Equatable, Sendable {
    /// Requests, also those that failed.
    public var requests = 0
    /// Bytes of bodies with 200 and 206.
    public var bytes = 0
  }

  private let state: StateBox
  /// The server.
  public let server: TestServer

  private final class StateBox: Sendable {
    let state = Mutex(State())
  }

  /// Listens on `host`.
  public init(host: String = "127.0.0.1", port: UInt16 = 0) throws(Errno) {
    let box = StateBox()
    state = box
    server = try TestServer(host: host, port: port) { request in TestRegistry.answer(request, box) }
  }

  /// Ends it.
  @discardableResult
  public func stop() -> Bool { server.stop() }

  /// `http://host:port/v2/<name>/blobs`, for any name.
  public func repoBlobURL(_ name: String = "images/test") -> String { "\(server.url)/v2/\(name)/blobs" }

  /// Serves `bytes` as `digest`, in all repositories.
  public func add(_ digest: String, _ bytes: [UInt8]) { state.state.withLock { $0.blobs[digest] = bytes } }

  /// The next requests for blobs get these, one after another.
  public func fail(_ faults: Fault...) { state.state.withLock { $0.faults += faults } }

  /// From now on every request for a blob gets this; nil: the right answer again.
  public func failAlways(_ fault: Fault?) { state.state.withLock { $0.lasting = fault } }

  /// Asked before anything else; a reply means that the request is refused with it.
  public func guardAccess(_ access: (@Sendable (TestRequest) -> TestReply?)?) {
    state.state.withLock { $0.access = access }
  }

  /// Milliseconds before each answer: the round trip.
  public func setDelay(_ milliseconds: Int) { state.state.withLock { $0.delay = milliseconds } }

  /// What answers come over; nil for loopback as it is.
  public func setLink(_ link: TestLink?) { state.state.withLock { $0.link = link } }

  /// Whether connections are closed after each answer.
  public func setCloses(_ closes: Bool) { state.state.withLock { $0.closes = closes } }

  /// What was asked of `digest`.
  public func count(_ digest: String) -> Count { state.state.withLock { $0.counts[digest] ?? Count() } }

  /// Forgets all counts.
  public func clearCounts() {
    state.state.withLock { $0.counts = [:] }
    server.clearRequests()
  }

  private static func answer(_ request: TestRequest, _ box: StateBox) -> TestReply {
    let digest = String(request.path.split(separator: "/").last ?? "")
    let (access, delay, link, closes, blob) = box.state.withLock { state in
      state.counts[digest, default: Count()].requests += 1
      return (state.access, state.delay, state.link, state.closes, state.blobs[digest])
    }
    var reply: TestReply
    if let refusal = access?(request) {
      reply = refusal
    } else {
      let fault = box.state.withLock { $0.faults.isEmpty ? $0.lasting ?? .none : $0.faults.removeFirst() }
      reply = content(blob, request)
      switch fault {
      case .none: break
      case .reply(let other): reply = other
      case .change(let change): change(request, &reply)
      }
    }
    reply.delay += delay
    reply.link = link
    reply.closes = reply.closes || closes
    if [200, 206].contains(reply.status) {
      let bytes = min(reply.body.count, max(0, reply.trouble?.after ?? .max))
      box.state.withLock { $0.counts[digest, default: Count()].bytes += bytes }
    }
    return reply
  }

  /// What a good server answers.
  public static func content(_ blob: [UInt8]?, _ request: TestRequest) -> TestReply {
    guard let blob else { return TestReply(404, body: Array(#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#.utf8)) }
    let type = ("Content-Type", "application/octet-stream")
    guard let range = request.range(of: blob.count) else { return TestReply(200, headers: [type], body: blob) }
    if range.isEmpty { return TestReply(416, headers: [("Content-Range", "bytes */\(blob.count)")]) }
    let text = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(blob.count)"
    return TestReply(206, headers: [type, ("Content-Range", text)], body: Array(blob[range]))
  }
}
