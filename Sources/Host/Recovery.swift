import Glibc
import Posix

/// Gives devices a new server: `warmblk recover` and `warmblk upgrade`.
///
/// Forks: the process must have one thread.
public struct Recovery {
  private let directory: RunDirectory
  /// Seconds for each device.
  private let timeout: Int
  /// Gets what the user should know beside the outcome.
  private let note: (String) -> Void

  /// `timeout`: seconds that each device may take. On 6.12 the driver may need 30 s to notice that a server is gone.
  public init(_ directory: RunDirectory, timeout: Int, note: @escaping (String) -> Void) {
    self.directory = directory
    self.timeout = timeout
    self.note = note
  }

  /// The devices whose server is dead, by number; not those that were never handed over. One whose record cannot be read is
  /// told of.
  public func dead() throws(HostError) -> [UInt32] {
    try directory.ids().filter { id in
      do throws(HostError) {
        guard let state = try directory.state(id) else { return false }
        return !state.server.isAlive && state.phase == .serving && state.keeper != .starter
      } catch {
        note("\(error)")
        return false
      }
    }
  }

  /// Gives device `id`, whose server is dead, a new one; returns when its disk answers.
  public func recover(_ id: UInt32) throws(HostError) { try replaceServer(id, "recover", takesFromLiving: false) }

  /// Has a new server, of the program that runs, take device `id` over from the one that lives, or that is dead. Returns when
  /// the new one answers. Where somebody supervises the server that is left to them.
  public func upgrade(_ id: UInt32) throws(HostError) {
    guard let state = try directory.state(id) else { throw noDevice(id) }
    if state.keeper == .supervisor, state.server.isAlive { return try haveSupervisorReplace(state) }
    try replaceServer(id, "upgrade", takesFromLiving: true)
  }

  private func noDevice(_ id: UInt32) -> HostError {
    .refused("there is no device \(id); `warmblk list` shows the devices")
  }

  private func replaceServer(_ id: UInt32, _ purpose: String, takesFromLiving: Bool) throws(HostError) {
    guard try directory.state(id) != nil else { throw noDevice(id) }
    let lock = try DeviceLock.take(id, directory, purpose)
    // Only now nobody else changes it.
    guard let state = try directory.state(id) else { throw noDevice(id) }
    try RecoveryCheck.refuseUnlessFit(state, takesFromLiving: takesFromLiving)
    let child = RecoveryChild(
      id: id, directory: directory, lock: lock, timeout: timeout, takesFromLiving: takesFromLiving)
    let running = try child.start()
    let pid = running.pid
    lock.release()
    let deadline = Deadline(milliseconds: timeout * 1000 + 20_000)
    var lines = LineReader(running.news.rawValue)
    while let line = lines.next(deadline) {
      switch StartMessage(parsing: line) {
      case .ready: return
      case .warning(let text): note("warning: \(text)")
      case .note(let text): note(text)
      case .failed(let text):
        _ = waitpid(pid, nil, 0)
        throw .refused(text)
      case .progress, .filling, .warmed, nil: note(line)
      }
    }
    let isLate = deadline.hasPassed
    kill(pid, SIGKILL)
    var status: Int32 = 0
    _ = Deadline(milliseconds: 5000).wait(interval: 1) { waitpid(pid, &status, WNOHANG) == pid }
    throw .refused(
      (isLate
        ? "the new server of device \(id) was not ready in time"
        : "the new server of device \(id) ended without a word")
        + "; see \(directory.logPath(id)), then try again: the device waits")
  }

  /// A supervised server leaves, and its supervisor starts the next.
  private func haveSupervisorReplace(_ state: DeviceState) throws(HostError) {
    let client = ControlClient(id: state.id, directory: directory)
    _ = try client.ask(.handOver, Deadline(milliseconds: 5000))
    let isReplaced = Deadline(milliseconds: timeout * 1000).wait(interval: 5) {
      guard let next = try? directory.state(state.id) else { return false }
      return next.server != state.server && next.server.isAlive
    }
    if isReplaced { return }
    throw .refused(
      "whoever supervises the server of device \(state.id) has not started the next one within \(timeout) s (Restart=always "
        + "does it); `warmblk recover -n \(state.id)` does it in the background")
  }
}
