import CLinux
import Glibc
import Posix
import Synchronization

/// An HTTP/1.1 server for tests: a thread for each connection, and an answer from a closure for each request.
public final class TestServer: Sendable {
  /// Where it listens.
  public let host: String
  /// Chosen by the system, or as given.
  public let port: UInt16
  let listener: Int32
  let handler: @Sendable (TestRequest) -> TestReply
  let isStopping = Atomic<Bool>(false)
  private let state = Mutex(State())
  private let acceptor = Mutex<Thread?>(nil)

  private struct State {
    var requests: [TestRequest] = []
    var connections = 0
    var sockets: Set<Int32> = []
    var threads: [Thread] = []
  }

  /// Listens on `host`, an IPv4 address, and `port` (0: any). `handler` is called on many threads.
  public init(
    host: String = "127.0.0.1", port: UInt16 = 0, handler: @escaping @Sendable (TestRequest) -> TestReply
  ) throws(Errno) {
    self.host = host
    self.handler = handler
    (listener, self.port) = try listen(host, port)
    let thread = try Thread(name: "test-server") { [self] in acceptLoop() }
    acceptor.withLock { $0 = thread }
  }

  /// `http://host:port`.
  public var url: String { "http://\(host):\(port)" }

  /// All requests so far, in the order in which they were read.
  public var requests: [TestRequest] { state.withLock { $0.requests } }

  /// Connections that were accepted so far.
  public var connections: Int { state.withLock { $0.connections } }

  /// Forgets ``requests``.
  public func clearRequests() { state.withLock { $0.requests = [] } }

  /// Cuts every connection and lets the port go. False when a thread did not end in time.
  @discardableResult
  public func stop() -> Bool {
    isStopping.store(true, ordering: .sequentiallyConsistent)
    let deadline = Deadline(milliseconds: 10_000)
    var isEnded = acceptor.withLock { thread in
      defer { thread = nil }
      return thread?.join(deadline) ?? true
    }
    let threads = state.withLock { state in
      for socket in state.sockets { shutdown(socket, Int32(SHUT_RDWR)) }
      defer { state.threads = [] }
      return state.threads
    }
    for thread in threads { isEnded = thread.join(deadline) && isEnded }
    return isEnded
  }

  private func acceptLoop() {
    while !isStopping.load(ordering: .relaxed) {
      var wanted = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
      guard poll(&wanted, 1, 20) > 0 else { continue }
      let socket = accept(listener, nil, nil)
      guard socket >= 0 else { continue }
      _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
      var one: Int32 = 1
      setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
      let number = state.withLock { state in
        state.connections += 1
        state.sockets.insert(socket)
        return state.connections
      }
      let thread = try? Thread(name: "test-connection") { [self] in
        TestConnection(socket: socket, number: number, server: self).serve()
        // Under the lock, so that a stop does not touch a number that is somebody else's by then.
        state.withLock { state in
          state.sockets.remove(socket)
          close(socket)
        }
      }
      if let thread { state.withLock { $0.threads.append(thread) } }
    }
    close(listener)
  }

  func note(_ request: TestRequest) { state.withLock { $0.requests.append(request) } }
}

/// The socket and its port.
private func listen(_ host: String, _ port: UInt16) throws(Errno) -> (Int32, UInt16) {
  let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  if listener < 0 { throw .last }
  var one: Int32 = 1
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, 4)
  var address = socketAddress(host, port)
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let result = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
      bind(listener, raw, length) == 0 && Glibc.listen(listener, 512) == 0 && getsockname(listener, raw, &length) == 0
    }
  }
  guard result else {
    let error = Errno.last
    close(listener)
    throw error
  }
  return (listener, UInt16(bigEndian: address.sin_port))
}

/// `host` is an IPv4 address.
func socketAddress(_ host: String, _ port: UInt16) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  inet_pton(AF_INET, host, &address.sin_addr)
  return address
}
