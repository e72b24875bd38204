import Glibc

/// A request as a ``TestServer`` read it.
public struct TestRequest: Sendable {
  /// `GET`, `CONNECT` and so on.
  public var method: String
  /// As it came: a path with its query, or a whole URL when the client takes the server for a proxy.
  public var target: String
  /// By lower-case names.
  public var headers: [String: String]
  /// The body.
  public var body: [UInt8]
  /// Counts the connections of the server from 1.
  public var connection: Int
  /// Counts the requests of its connection from 1.
  public var numberOnConnection: Int
  /// Nanoseconds of the monotonic clock when it was read.
  public var time: UInt64

  /// The target without its query.
  public var path: String { String(target.prefix { $0 != "?" }) }

  /// The query without its `?`.
  public var query: String { String(target.drop { $0 != "?" }.dropFirst()) }

  /// The `Range` header against a body of `size` bytes; nil without one.
  public func range(of size: Int) -> Range<Int>? {
    guard let value = headers["range"], value.hasPrefix("bytes=") else { return nil }
    let parts = value.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2 else { return nil }
    if parts[0].isEmpty { return Int(parts[1]).map { max(0, size - $0)..<size } }
    guard let first = Int(parts[0]) else { return nil }
    let last = Int(parts[1]) ?? size - 1
    return first < size && first <= last ? first..<min(size, last + 1) : size..<size
  }
}

/// What a ``TestServer`` answers, and how badly.
public struct TestReply: Sendable {
  /// The status.
  public var status: Int
  /// Names and values, sent as they are. `Content-Length` comes by itself unless it is here or `isChunked`.
  public var headers: [(String, String)] = []
  /// The body.
  public var body: [UInt8] = []
  /// Milliseconds before anything is sent: a round trip, a slow server.
  public var delay = 0
  /// What happens when so many bytes of the body are sent.
  public var trouble: (after: Int, kind: Trouble)?
  /// Bytes of the body in a second.
  public var bytesPerSecond: Int?
  /// The way on which head and body come; nil for loopback as it is.
  public var link: TestLink?
  /// Whether the connection is closed after it.
  public var closes = false
  /// `Transfer-Encoding: chunked`, in two chunks.
  public var isChunked = false
  /// After the head, the bytes of both sides go on to this port of 127.0.0.1: the answer of a proxy to `CONNECT`.
  public var tunnel: UInt16?

  /// What goes wrong in the middle of a body, or before it.
  public enum Trouble: Sendable {
    /// The connection is reset.
    case reset
    /// It is closed as if all were well.
    case close
    /// Nothing more comes, until the client gives up.
    case stall
  }

  /// A reply without trouble.
  public init(_ status: Int, headers: [(String, String)] = [], body: [UInt8] = []) {
    self.status = status
    self.headers = headers
    self.body = body
  }

  /// JSON with 200.
  public static func json(_ text: String) -> TestReply {
    TestReply(200, headers: [("Content-Type", "application/json")], body: Array(text.utf8))
  }

  var head: String {
    var lines = ["HTTP/1.1 \(status) Said"]
    lines += headers.map { "\($0): \($1)" }
    if isChunked {
      lines.append("Transfer-Encoding: chunked")
    } else if tunnel == nil, !headers.contains(where: { $0.0.lowercased() == "content-length" }) {
      lines.append("Content-Length: \(body.count)")
    }
    if closes { lines.append("Connection: close") }
    return lines.joined(separator: "\r\n") + "\r\n\r\n"
  }
}
