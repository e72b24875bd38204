import Glibc
import Posix
import Ublk

/// Takes a device away: `warmblk del`.
public struct Removal {
  /// What may be done to whom.
  public struct Options: Sendable {
    /// Also when it is mounted or open: its users see the disk vanish.
    public var isForced: Bool
    /// Also when Warmblk has no record of having made it.
    public var includesForeign: Bool
    /// Seconds for all of it: half of them for the disk to stop and its server to end by itself, the rest for the
    /// kernel to kill the server and to delete what is left. One that makes durable what was written has more.
    public var timeout: Int

    /// All options.
    public init(isForced: Bool = false, includesForeign: Bool = false, timeout: Int = 20) {
      self.isForced = isForced
      self.includesForeign = includesForeign
      self.timeout = timeout
    }
  }

  private let id: UInt32
  private let directory: RunDirectory
  private let options: Options
  private let note: (String) -> Void
  /// When the patience with disk and server ends, and when all of it does.
  private let patience: Deadline
  private let deadline: Deadline
  private var disk: BlockDevice { BlockDevice(id: id) }

  /// The removal of device `id`, whose time begins now. `note` gets what the user should know beside the outcome.
  public init(_ id: UInt32, _ directory: RunDirectory, _ options: Options, note: @escaping (String) -> Void) {
    self.id = id
    self.directory = directory
    self.options = options
    self.note = note
    patience = Deadline(milliseconds: options.timeout * 500)
    deadline = Deadline(milliseconds: options.timeout * 1000)
  }

  /// Returns when the device is gone: its nodes, its server and its state files.
  public func run() throws(HostError) {
    guard try directory.state(id) != nil else { return try removeForeign() }
    // Who starts new servers must not follow one that is ended here.
    let lock = try takeLock()
    defer { lock?.release() }
    guard let state = try directory.state(id) else { return }
    let server = state.server
    if disk.exists { try refuseIfUsed() }
    guard let status = server.status else {
      try deleteFromKernel(of: state)
      return try directory.remove(id, server: server)
    }
    if status.isPaused {
      note("its server (pid \(server.pid)) is stopped; letting it go on so that it can end")
      try server.signal(SIGCONT)
    }
    if !options.isForced, serverLetsGo() { try stopUnlessOpen(state.mark) }
    try end(server, upper: state.upper)
    if disk.hasCharacterNode { try deleteFromKernel(of: state) }
    try directory.remove(id, server: server)
  }

  /// Nil by force from somebody who does not let go.
  private func takeLock() throws(HostError) -> DeviceLock? {
    do throws(HostError) {
      return try DeviceLock.take(id, directory, "del", Deadline(milliseconds: options.timeout * 250))
    } catch {
      guard options.isForced else { throw error }
      note("\(error); taking it away all the same")
      return nil
    }
  }

  private func removeForeign() throws(HostError) {
    guard disk.hasCharacterNode else {
      throw .refused("there is no device \(id); `warmblk list` shows the devices")
    }
    guard options.includesForeign else {
      throw .refused(
        "device \(id) was not made by warmblk (no \(directory.statePath(id))): use the program that made it, "
          + "or --foreign to delete it all the same")
    }
    if disk.exists { try refuseIfUsed() }
    try deleteFromKernel(of: nil)
  }

  // MARK: Users

  private func refuseIfUsed() throws(HostError) {
    let users = findUsers()
    if users.isEmpty { return }
    let list = users.joined(separator: "; ")
    guard options.isForced else {
      throw .refused("/dev/ublkb\(id) is in use: \(list). End that first, or use --force")
    }
    note(
      "forced while in use (\(list)): reads fail from now on, and the number is free when the last user has gone"
    )
  }

  /// Who uses the disk. One that merely has it open may be udev or a `blkid` that is about to close it: they get a
  /// second.
  private func findUsers() -> [String] {
    let holders = DeviceHolders(disk)
    let permanent = holders.permanent(ignoring: servers)
    if !permanent.isEmpty || options.isForced { return permanent + holders.processes() }
    var processes: [String] = []
    _ = Deadline(milliseconds: 1000).wait(interval: 20) {
      processes = holders.processes()
      return processes.isEmpty
    }
    return processes
  }

  /// All servers of this machine: their mount tables are copies.
  private var servers: Set<Int32> {
    Set(((try? directory.ids()) ?? []).compactMap { (try? directory.state($0))?.server.pid })
  }

  /// Has the server close its disk if it may hold it open for its page cache: the kernel counts it among the users. False
  /// when it does not: then the disk goes the way that it goes where the kernel cannot count, after our look.
  private func serverLetsGo() -> Bool {
    guard WarmStatus.read(directory.warmPath(id))?.level == .pageCache else { return true }
    let wait = Deadline(milliseconds: min(4000, options.timeout * 250))
    do throws(HostError) {
      _ = try ControlClient(id: id, directory: directory).ask(.releaseDisk, wait)
      return true
    } catch {
      note("\(error); nobody else had the disk open, so it is taken away all the same")
      return false
    }
  }

  /// Where the kernel can do it (7.0), stops the disk only if nobody has it open, in one step: nobody can open it
  /// between our look and the end. Elsewhere the look has to do. `mark` is the device's: when its server has ended by
  /// itself, the number may be another one's.
  private func stopUnlessOpen(_ mark: UInt64) throws(HostError) {
    guard disk.exists else { return }
    var failure: UblkError?
    let closed = Deadline(milliseconds: 1000).wait(interval: 20) {
      do throws(UblkError) {
        let control = try Control(deadline: patience)
        if try control.features().contains(.safeStop), try control.info(id).mark == mark { try control.tryStop(id) }
        failure = nil
      } catch {
        failure = error.errno == .noDevice ? nil : error
      }
      return failure?.errno != .busy
    }
    if case .timedOut = failure {
      // The disk waits for a request that its server does not answer: ending the server ends the wait.
      return note(
        "the disk did not stop in time (half of \(options.timeout) s), a request is not answered; ending its server")
    }
    if let failure, closed { throw .ublk(failure) }
    if failure != nil {
      let holders = DeviceHolders(disk)
      let users = holders.permanent(ignoring: []) + holders.processes()
      let list =
        users.isEmpty
        ? "the kernel says so, no process of this machine shows it" : users.joined(separator: "; ")
      throw .refused("/dev/ublkb\(id) is in use: \(list). End that first, or use --force")
    }
  }

  // MARK: The end

  /// Asks the server to end, and ends it when it does not.
  private func end(_ server: ProcessIdentity, upper: DeviceState.Upper?) throws(HostError) {
    try server.signal(SIGTERM)
    // While a user holds the disk the server waits for the kernel, which waits for the user; with the node gone
    // there is nothing left to serve.
    let ended = patience.wait(interval: 2) {
      !server.isAlive || (options.isForced && !disk.hasCharacterNode)
    }
    if ended, server.waitForEnd(Deadline(milliseconds: options.isForced ? 1000 : 0)) { return }
    if !ended, upper != nil, waitForFlush(server) { return }
    if !ended, let upper, StoringCalls.isMaking(server.pid) {
      note(
        "its server (pid \(server.pid)) still stores what was written after \(options.timeout) s: killing it. Nothing is lost "
          + "while the machine runs: \(rest(upper)); add the image again, or give --timeout more")
    } else if !ended {
      note("its server (pid \(server.pid)) did not end in time (half of \(options.timeout) s): killing it")
    }
    try server.signal(SIGKILL)
    if server.waitForEnd(deadline) { return }
    throw .refused(
      "the server of device \(id), pid \(server.pid), does not end even when killed: it waits in the kernel "
        + "(\(Self.waitChannel(server.pid))); see `dmesg`, and whether the layers' file system answers")
  }

  /// Waits for a server that makes durable what was written, for all but a second of the time that is left; false when it
  /// has not ended, or does something else for a second.
  private func waitForFlush(_ server: ProcessIdentity) -> Bool {
    let rest = Int(deadline.remaining / 1_000_000)
    let limit = Deadline(milliseconds: rest - min(1000, rest / 3))
    var pause = Deadline(milliseconds: 1000)
    var isOver = false
    _ = limit.wait(interval: 20) {
      isOver = !server.isAlive
      if StoringCalls.isMaking(server.pid) { pause = Deadline(milliseconds: 1000) }
      return isOver || pause.hasPassed
    }
    return isOver
  }

  /// What a server that is killed has not stored.
  private func rest(_ upper: DeviceState.Upper) -> String {
    let pending = UpperStatus.read(directory.upperPath(id))?.pendingEntries
    let count = pending.map { "\($0) mappings" } ?? "mappings"
    return
      "\(count) that were not in \(upper.index) are in \(directory.path), and the kernel goes on storing \(upper.data)"
  }

  /// Deletes the device of a record, or what another program has made, whose server may be alive and ends with it.
  private func deleteFromKernel(of state: DeviceState?) throws(HostError) {
    do throws(UblkError) {
      let control = try Control(deadline: deadline)
      if let state { try control.deleteAfterServer(id, mark: state.mark) } else { try control.delete(id) }
    } catch {
      switch error {
      case .refused(_, _, .noDevice): return
      case .noControl(.noEntry) where !disk.hasCharacterNode: return
      case .timedOut where !disk.hasCharacterNode:
        note("the number \(id) is free again when the last user of the disk has gone")
      default: throw .ublk(error)
      }
    }
  }

  private static func waitChannel(_ pid: Int32) -> String {
    guard let bytes = try? readFile("/proc/\(pid)/wchan", limit: 4096), bytes.count > 1 else {
      return "unknown where"
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
