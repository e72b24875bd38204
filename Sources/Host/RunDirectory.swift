import Glibc
import Posix

/// Where servers say what they serve: `/run/warmblk`, on a tmpfs, so that a boot empties it.
///
/// For device N: `N.json` (`DeviceState`), `N.counters` (`CounterPage`), `N.remote.json` (`RemoteStatus`, with remote
/// layers only), `N.upper.json` (`UpperStatus`, with a writable layer only), `N.warm.json` (`WarmStatus`, if it is
/// warmed), `N.sock` (the server's ear), `N.log` (its messages), `N.lock` (`DeviceLock`).
public struct RunDirectory: Sendable {
  /// The directory, absolute.
  public let path: String
  /// Milliseconds to wait for whoever else changes the files. They are held for one or two of them; whoever holds
  /// them for seconds is stopped or stuck.
  var patience = 5000

  /// A directory elsewhere, for tests.
  public init(path: String) { self.path = path }

  /// `WARMBLK_RUN`, or `/run/warmblk`.
  public static func standard() -> RunDirectory {
    if let value = getenv("WARMBLK_RUN"), value.pointee != 0 {
      return RunDirectory(path: String(cString: value))
    }
    return RunDirectory(path: "/run/warmblk")
  }

  /// The state file of device `id`.
  public func statePath(_ id: UInt32) -> String { "\(path)/\(id).json" }
  /// The counter file of device `id`.
  public func countersPath(_ id: UInt32) -> String { "\(path)/\(id).counters" }
  /// What the server of device `id` says of remote layers.
  public func remotePath(_ id: UInt32) -> String { "\(path)/\(id).remote.json" }
  /// What the server of device `id` says of its writable layer.
  public func upperPath(_ id: UInt32) -> String { "\(path)/\(id).upper.json" }
  /// What the server of device `id` says of its prefetch.
  public func warmPath(_ id: UInt32) -> String { "\(path)/\(id).warm.json" }
  /// What the prefetches of all devices share, where their rate is limited together.
  var prefetchRatePath: String { "\(path)/prefetch.rate" }
  /// The socket where the server of device `id` listens.
  public func socketPath(_ id: UInt32) -> String { "\(path)/\(id).sock" }
  /// The messages of the server of device `id`.
  public func logPath(_ id: UInt32) -> String { "\(path)/\(id).log" }
  /// The file whose lock one has who changes the server of device `id`.
  func lockPath(_ id: UInt32) -> String { "\(path)/\(id).lock" }
  /// The file whose lock the watcher has.
  var watchLockPath: String { "\(path)/watch.lock" }
  /// The watcher's messages.
  public var watchLogPath: String { "\(path)/watch.log" }
  /// The messages of a server that does not have a device yet.
  func earlyLogPath(_ pid: Int32) -> String { "\(path)/starting-\(pid).log" }

  /// Makes the directory if it is missing.
  public func make() throws(HostError) {
    try HostError.describing("make \(path)") { () throws(Errno) in try makeDirectories(path) }
  }

  /// The numbers of all devices that have a state file, ascending.
  public func ids() throws(HostError) -> [UInt32] {
    let names: [String]
    do throws(Errno) {
      names = try listDirectory(path)
    } catch .noEntry {
      return []
    } catch {
      throw .system(what: "list \(path)", error)
    }
    return names.compactMap { $0.hasSuffix(".json") ? UInt32($0.dropLast(5)) : nil }.sorted()
  }

  /// The state of device `id`; nil when there is none.
  public func state(_ id: UInt32) throws(HostError) -> DeviceState? {
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try readFile(statePath(id), limit: 1 << 20)
    } catch .noEntry {
      return nil
    } catch {
      throw .system(what: "read \(statePath(id))", error)
    }
    return try DeviceState.parse(bytes, id: id, name: statePath(id))
  }

  /// The device that `server` serves or was making.
  func state(of server: ProcessIdentity) -> DeviceState? {
    let states = ((try? ids()) ?? []).lazy.compactMap { id in try? self.state(id) }
    return states.first { $0.server == server }
  }

  /// Replaces the state file of its device in one step.
  public func write(_ state: DeviceState) throws(HostError) {
    let bytes = try state.encoded()
    try locked { () throws(HostError) in
      try HostError.describing("write \(statePath(state.id))") { () throws(Errno) in
        try writeFileAtomically(statePath(state.id), bytes)
      }
    }
  }

  /// Removes what is kept of device `id`, but only if `server` still is its server: the number may have been given
  /// to a new device since. `server` nil removes in any case.
  public func remove(_ id: UInt32, server: ProcessIdentity?) throws(HostError) {
    try locked { () throws(HostError) in
      if let server, let state = try? self.state(id), state.server != server { return }
      _ = unlink(countersPath(id))
      _ = unlink(remotePath(id))
      _ = unlink(upperPath(id))
      _ = unlink(warmPath(id))
      _ = unlink(socketPath(id))
      _ = unlink(logPath(id))
      if unlink(statePath(id)) != 0, Errno.last != .noEntry {
        throw .system(what: "remove \(statePath(id))", .last)
      }
      // Last: who takes the lock of a new file must not find a record, as of a device whose server has died.
      _ = unlink(lockPath(id))
    }
  }

  /// Runs `body` while no other process changes the directory's files.
  private func locked(_ body: () throws(HostError) -> Void) throws(HostError) {
    let directory = try HostError.describing("open \(path)") { () throws(Errno) in
      try Descriptor.open(path, O_RDONLY | O_DIRECTORY)
    }
    let deadline = Deadline(milliseconds: patience)
    guard deadline.wait(interval: 1, until: { flock(directory.rawValue, LOCK_EX | LOCK_NB) == 0 }) else {
      throw .refused(
        "\(path) has been locked by another warmblk for \(patience) ms; is one stopped? See `fuser -v \(path)`"
      )
    }
    try body()
  }
}
