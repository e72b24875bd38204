import Glibc
import Posix

/// One connection of a ``TestServer``: requests and answers one after another.
final class TestConnection {
  private let socket: Int32
  private let number: Int
  private let server: TestServer
  private var buffer: [UInt8] = []

  init(socket: Int32, number: Int, server: TestServer) {
    self.socket = socket
    self.number = number
    self.server = server
  }

  func serve() {
    var count = 0
    while var request = readRequest() {
      count += 1
      request.connection = number
      request.numberOnConnection = count
      server.note(request)
      let reply = server.handler(request)
      guard pause(milliseconds: reply.delay + (reply.link?.roundTrip ?? 0)), send(reply), !reply.closes else { return }
    }
  }

  // MARK: Reading

  private func readRequest() -> TestRequest? {
    guard let head = readHead() else { return nil }
    let lines = head.split(separator: "\r\n")
    let words = (lines.first ?? "").split(separator: " ")
    guard words.count == 3 else { return nil }
    var headers: [String: String] = [:]
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { return nil }
      headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    let length = Int(headers["content-length"] ?? "0") ?? 0
    while buffer.count < length { if !readMore() { return nil } }
    defer { buffer.removeFirst(length) }
    return TestRequest(
      method: String(words[0]), target: String(words[1]), headers: headers, body: Array(buffer.prefix(length)),
      connection: 0, numberOnConnection: 0, time: monotonicNanoseconds())
  }

  private func readHead() -> String? {
    while true {
      if let end = endOfHead() {
        defer { buffer.removeFirst(end + 4) }
        return String(decoding: buffer[..<end], as: UTF8.self)
      }
      if !readMore() { return nil }
    }
  }

  private func endOfHead() -> Int? {
    guard buffer.count >= 4 else { return nil }
    return (0...buffer.count - 4).first { buffer[$0..<$0 + 4].elementsEqual([13, 10, 13, 10]) }
  }

  private func readMore() -> Bool {
    var chunk = [UInt8](repeating: 0, count: 16384)
    guard wait(for: POLLIN) else { return false }
    let count = recv(socket, &chunk, chunk.count, 0)
    guard count > 0 else { return false }
    buffer += chunk[..<count]
    return true
  }

  /// False at the end of the server, or of the client.
  private func wait(for event: Int32) -> Bool {
    while !server.isStopping.load(ordering: .relaxed) {
      var wanted = pollfd(fd: socket, events: Int16(event), revents: 0)
      if poll(&wanted, 1, 20) > 0 { return true }
    }
    return false
  }

  private func pause(milliseconds: Int) -> Bool {
    let deadline = Deadline(milliseconds: milliseconds)
    while !deadline.hasPassed {
      if server.isStopping.load(ordering: .relaxed) { return false }
      usleep(UInt32(min(20_000, deadline.remaining / 1000 + 1)))
    }
    return true
  }

  // MARK: Writing

  /// False when the connection cannot be used any more.
  private func send(_ reply: TestReply) -> Bool {
    let end = min(reply.trouble?.after ?? .max, reply.body.count)
    // A head that is never to come: trouble before the first byte.
    if let trouble = reply.trouble, trouble.after < 0 { return meet(trouble.kind) }
    reply.link?.pass(reply.head.utf8.count)
    guard write(Array(reply.head.utf8)) else { return false }
    if let port = reply.tunnel { return pass(to: port, reply.trouble) }
    let body = Array(reply.body[..<end])
    if reply.isChunked {
      let parts = [body[..<(end / 2)], body[(end / 2)...]].filter { !$0.isEmpty }
      for part in parts {
        guard write(Array("\(String(part.count, radix: 16))\r\n".utf8) + part + Array("\r\n".utf8)) else {
          return false
        }
      }
      if reply.trouble == nil { return write(Array("0\r\n\r\n".utf8)) }
    } else if let rate = reply.bytesPerSecond {
      for byte in body { guard write([byte]), pause(milliseconds: 1000 / rate) else { return false } }
    } else if let link = reply.link {
      for start in stride(from: 0, to: body.count, by: TestLink.step) {
        let part = body[start..<min(body.count, start + TestLink.step)]
        link.pass(part.count)
        guard write(Array(part)) else { return false }
      }
    } else {
      guard write(body) else { return false }
    }
    return reply.trouble.map { meet($0.kind) } ?? true
  }

  /// Passes on what comes from either side, until one of them ends, or as many bytes have come back as `trouble` says.
  private func pass(to port: UInt16, _ trouble: (after: Int, kind: TestReply.Trouble)?) -> Bool {
    let other = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(other) }
    var address = socketAddress("127.0.0.1", port)
    let isConnected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(other, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    var bytes = [UInt8](repeating: 0, count: 16384)
    var left = trouble?.after ?? .max
    while isConnected, !server.isStopping.load(ordering: .relaxed) {
      var wanted = [socket, other].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      poll(&wanted, 2, 20)
      for (side, (from, to)) in [(socket, other), (other, socket)].enumerated() where wanted[side].revents != 0 {
        let count = recv(from, &bytes, from == other ? min(bytes.count, left) : bytes.count, 0)
        guard count > 0, Glibc.send(to, bytes, count, Int32(MSG_NOSIGNAL)) == count else { return false }
        if from == other { left -= count }
        if left == 0, let trouble { return meet(trouble.kind) }
      }
    }
    return false
  }

  private func meet(_ trouble: TestReply.Trouble) -> Bool {
    switch trouble {
    case .close: shutdown(socket, Int32(SHUT_RDWR))
    case .reset:
      // What was sent has to arrive before the reset, which would overtake it.
      _ = pause(milliseconds: 30)
      var linger = linger(l_onoff: 1, l_linger: 0)
      setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
    case .stall: _ = wait(for: POLLIN)
    }
    return false
  }

  private func write(_ bytes: [UInt8]) -> Bool {
    var done = 0
    while done < bytes.count {
      guard wait(for: POLLOUT) else { return false }
      let count = bytes[done...].withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { return false }
      done += count
    }
    return true
  }
}
