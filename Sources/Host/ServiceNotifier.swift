import CLinux
import Glibc
import Posix

/// Tells systemd where a service is (sd_notify(3)): datagrams to the socket that `NOTIFY_SOCKET` names.
public struct ServiceNotifier: ~Copyable {
  private let socket: Descriptor

  private init(_ socket: consuming Descriptor) { self.socket = socket }

  /// Connects to the supervisor's socket, so that the path is not needed later; nil when nobody listens.
  public static func connect(
    environment: String? = getenv("NOTIFY_SOCKET").map { String(cString: $0) }
  ) throws(HostError) -> ServiceNotifier? {
    guard let path = environment, !path.isEmpty else { return nil }
    guard let address = address(path) else {
      throw .refused(
        "NOTIFY_SOCKET is \(path): neither an absolute path nor an abstract name (@…) of at most 107 bytes")
    }
    let raw = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    if raw < 0 { throw .system(what: "make a socket for NOTIFY_SOCKET", .last) }
    let socket = Descriptor(owning: raw)
    try HostError.describing("connect to NOTIFY_SOCKET \(path)") { () throws(Errno) in
      try UnixSocket.withAddress(address) { Glibc.connect(raw, $0, $1) }
    }
    return ServiceNotifier(socket)
  }

  /// `sun_path` for a value of `NOTIFY_SOCKET`; nil when it cannot be one. `@` stands for the NUL of an abstract name.
  static func address(_ path: String) -> [UInt8]? {
    var bytes = Array(path.utf8)
    guard bytes.count > 1, bytes.count < 108, !bytes.contains(0) else { return nil }
    switch bytes[0] {
    case UInt8(ascii: "@"): bytes[0] = 0
    case UInt8(ascii: "/"): bytes.append(0)
    default: return nil
    }
    return bytes
  }

  /// A message of `NAME=value` lines. Newlines in values would begin another one.
  static func message(_ fields: [(String, String)]) -> [UInt8] {
    Array(
      fields.map { name, value in "\(name)=" + String(value.map { $0.isNewline ? " " : $0 }) }
        .joined(separator: "\n").utf8)
  }

  /// The service can be used.
  public func ready(status: String) { send([("READY", "1"), ("STATUS", status)]) }

  /// What it does now, for `systemctl status`.
  public func status(_ text: String) { send([("STATUS", text)]) }

  /// It ends.
  public func stopping() { send([("STOPPING", "1")]) }

  /// A supervisor that does not listen is not a reason to fail.
  private func send(_ fields: [(String, String)]) {
    Self.message(fields).withUnsafeBytes { bytes in
      _ = Glibc.send(socket.rawValue, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
    }
  }
}
