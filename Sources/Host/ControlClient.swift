import CLinux
import Glibc
import Posix

/// Asks the server of a device for something, through its control socket.
struct ControlClient {
  let id: UInt32
  let directory: RunDirectory

  /// Sends a request, with a descriptor if there is one, and waits for the reply until the deadline. A reply that says
  /// why it was not done is thrown. `progress` gets those that more follows.
  func ask(
    _ request: ControlRequest, passing descriptor: Int32 = -1, _ deadline: Deadline,
    progress: (ControlReply) -> Void = { _ in }
  ) throws(HostError) -> ControlReply {
    try checkServer()
    let socket = try connect(deadline)
    try send(try ControlLine.encode(request), descriptor, socket, deadline)
    var lines = LineReader(socket.rawValue)
    while let line = lines.next(deadline) {
      let reply = try ControlLine.reply(line)
      switch reply {
      case .failed(let message): throw .refused(message)
      case .progress: progress(reply)
      default: return reply
      }
    }
    if !deadline.hasPassed { throw hungUp }
    throw .refused("the server of device \(id) did not answer in time; see \(directory.logPath(id))")
  }

  private var hungUp: HostError {
    .refused(
      "the server of device \(id) has hung up before it answered: `warmblk list` shows whether it is gone, or has a "
        + "successor; see \(directory.logPath(id))")
  }

  private func checkServer() throws(HostError) {
    guard let state = try directory.state(id) else {
      throw .refused("there is no device \(id); `warmblk list` shows the devices")
    }
    guard let status = state.server.status else {
      throw .refused(
        "the server of device \(id) (pid \(state.server.pid)) is gone; `warmblk recover -n \(id)` gives it a new one, "
          + "`warmblk del -n \(id)` removes what is left")
    }
    if status.isPaused {
      throw .refused("the server of device \(id) is stopped; `kill -CONT \(state.server.pid)` lets it go on")
    }
  }

  private func connect(_ deadline: Deadline) throws(HostError) -> Descriptor {
    let path = directory.socketPath(id)
    return try HostError.describing("connect to \(path)") { () throws(Errno) in
      let socket = try UnixSocket.make()
      while true {
        do throws(Errno) {
          try UnixSocket.withAddress(Array(path.utf8)) { Glibc.connect(socket.rawValue, $0, $1) }
          return socket
        } catch {
          // The server has as many peers as it takes.
          if error != .again && error != .interrupted || deadline.hasPassed { throw error }
          usleep(5000)
        }
      }
    }
  }

  private func send(
    _ bytes: [UInt8], _ descriptor: Int32, _ socket: borrowing Descriptor, _ deadline: Deadline
  ) throws(HostError) {
    let raw = socket.rawValue
    do throws(Errno) {
      var done = 0
      while done < bytes.count {
        let count = bytes[done...].withUnsafeBytes {
          clinux_send_with_descriptor(raw, $0.baseAddress, $0.count, done == 0 ? descriptor : -1)
        }
        if count > 0 {
          done += count
          continue
        }
        let error = Errno.last
        if error != .again && error != .interrupted { throw error }
        if deadline.hasPassed { throw .timedOut }
        var entry = pollfd(fd: raw, events: Int16(POLLOUT), revents: 0)
        _ = poll(&entry, 1, 100)
      }
    } catch {
      throw error == .brokenPipe ? hungUp : .system(what: "send to \(directory.socketPath(id))", error)
    }
  }
}
