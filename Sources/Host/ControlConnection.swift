import CLinux
import Glibc
import Posix

/// A command that has connected to a server's control socket. Nothing here waits.
final class ControlConnection {
  /// Milliseconds for a request to come whole, and for its reply to go.
  static let patience = 5000

  private let socket: Descriptor
  private var input: [UInt8] = []
  private var output: [UInt8] = []
  private var passed: Int32 = -1
  private var deadline = Deadline(milliseconds: patience)
  private var hasEnded = false
  /// Whether its reply may take any time.
  var isWaiting = false

  init(_ socket: consuming Descriptor) { self.socket = socket }

  deinit {
    if passed >= 0 { close(passed) }
  }

  /// Whether it has hung up, was late, or sent what is no line.
  var isOver: Bool { hasEnded || !isWaiting && deadline.hasPassed }

  /// Whether it takes what is sent.
  var isReady: Bool { output.isEmpty }

  /// What to poll for.
  var pollEntry: pollfd {
    pollfd(fd: socket.rawValue, events: Int16(output.isEmpty ? POLLIN : POLLOUT), revents: 0)
  }

  /// Takes what has come; a line, without its end, when one is whole. Only when nothing is left to be sent.
  func receive() -> [UInt8]? {
    var chunk = [UInt8](repeating: 0, count: 4096)
    var descriptor: Int32 = -1
    let count = clinux_receive_with_descriptor(socket.rawValue, &chunk, chunk.count, &descriptor)
    if descriptor >= 0 {
      if passed >= 0 { close(passed) }
      passed = descriptor
    }
    if count <= 0 {
      hasEnded = count == 0 || ![.again, .interrupted].contains(Errno.last)
      return nil
    }
    input += chunk[..<count]
    guard let end = input.firstIndex(of: UInt8(ascii: "\n")) else {
      hasEnded = input.count > ControlLine.bytesMax
      return nil
    }
    // One request, one reply: what a peer sends before it has read the reply is not looked at.
    let line = Array(input[..<end])
    input = []
    return line
  }

  /// The folder whose descriptor came with the request, once; `ENOTDIR` when it is none.
  func takeFolder() throws(Errno) -> TraceFolder? {
    guard passed >= 0 else { return nil }
    defer { passed = -1 }
    return try TraceFolder(Descriptor(owning: passed))
  }

  /// Begins to send a reply.
  func send(_ bytes: [UInt8]) {
    output += bytes
    deadline = Deadline(milliseconds: Self.patience)
    flush()
  }

  /// Sends what the peer takes of the reply; then the next request may come.
  func flush() {
    let count = clinux_send_with_descriptor(socket.rawValue, output, output.count, -1)
    if count < 0 {
      hasEnded = ![.again, .interrupted].contains(Errno.last)
      return
    }
    output.removeFirst(count)
    if output.isEmpty { deadline = Deadline(milliseconds: Self.patience) }
  }
}
