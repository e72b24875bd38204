import CLinux
import Glibc
import Posix

/// Sockets that have a name on this machine.
enum UnixSocket {
  /// The longest path that the kernel takes, bytes.
  static let pathMax = 107

  /// A new stream socket, which never waits.
  static func make() throws(Errno) -> Descriptor {
    let flags = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    return Descriptor(owning: try retryingInterrupts { socket(AF_UNIX, flags, 0) })
  }

  /// Calls `body`, which is connect(2) or bind(2), with the address whose `sun_path` is `name`: at most 107 bytes.
  static func withAddress(_ name: [UInt8], _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) throws(Errno) {
    if name.count > pathMax { throw Errno(rawValue: ENAMETOOLONG) }
    var storage = sockaddr_un()
    storage.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &storage.sun_path) { $0.copyBytes(from: name) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
    let result = withUnsafePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
    if result != 0 { throw .last }
  }

  /// A socket that listens at `path`, for root only. One that a killed server has left there is replaced.
  static func listen(at path: String) throws(Errno) -> Descriptor {
    let socket = try make()
    // The node that bind makes has the permissions of the socket.
    if fchmod(socket.rawValue, 0o600) != 0 { throw .last }
    _ = unlink(path)
    try withAddress(Array(path.utf8)) { bind(socket.rawValue, $0, $1) }
    if Glibc.listen(socket.rawValue, 16) != 0 { throw .last }
    return socket
  }
}
