import Device
import Posix

/// One device of this machine: a row of `warmblk list`.
public struct DeviceListing: Encodable, Sendable {
  /// How a device is.
  public enum State: String, Encodable, Sendable {
    /// It answers.
    case live
    /// Its server prepares it.
    case starting
    /// Its server ends.
    case stopping
    /// Its server is stopped by a signal or a debugger: whoever reads it waits.
    case paused
    /// Its server is gone, and a new one is on its way.
    case recovering
    /// Its server is gone: `warmblk recover` gives it a new one, `warmblk del` removes what is left.
    case dead
    /// Its state file cannot be read.
    case unknown
    /// Another program made it.
    case foreign
  }

  /// The number N of `/dev/ublkbN`.
  public var id: UInt32
  /// `/dev/ublkbN`.
  public var device: String
  /// How it is.
  public var state: State
  /// Bytes of the disk.
  public var size: UInt64?
  /// The image's configuration file.
  public var image: String?
  /// The layers' files, bottom to top.
  public var layers: [String]?
  /// The files of its writable layer; nil when it is read-only.
  public var upper: DeviceState.Upper?
  /// Hardware queues.
  public var queues: Int?
  /// Requests that a queue may have in flight.
  public var depth: Int?
  /// `zero-copy`, `user-copy` or `copy`: how data gets into requests.
  public var data: String?
  /// The server's process.
  public var pid: Int32?
  /// Requests served since the start.
  public var requests: UInt64?
  /// Bytes read by them.
  public var bytes: UInt64?
  /// Bytes written.
  public var writtenBytes: UInt64?
  /// FLUSHes, and writes that went through the cache.
  public var flushes: UInt64?
  /// Requests that failed.
  public var errors: UInt64?
  /// When it was made, in seconds since 1970.
  public var created: Int64?
  /// How often a new server has taken it over.
  public var recoveries: Int?
  /// What is known of its remote layers; nil without any.
  public var remote: RemoteStatus?
  /// What is in its writable layer; nil when it is read-only.
  public var written: UpperStatus?
  /// What became of its prefetch; nil without one.
  public var warm: WarmStatus?
  /// What is being recorded; nil when nothing is.
  public var recording: RecordingCounts?
  /// What is wrong and what to do; nil when nothing is.
  public var problem: String?

  /// All devices that Warmblk made, by number; with `foreign` those of other programs too. Asks neither servers nor
  /// the driver, so that nothing that hangs can make it hang.
  public static func all(_ directory: RunDirectory, foreign: Bool) throws(HostError) -> [DeviceListing] {
    let own = try directory.ids()
    var listings = own.compactMap { listing($0, directory) }
    if foreign {
      for id in BlockDevice.all() where !own.contains(id) {
        let disk = BlockDevice(id: id)
        listings.append(
          DeviceListing(
            id: id, device: "/dev/ublkb\(id)", state: .foreign, size: disk.sectors.map { $0 &* 512 }))
      }
    }
    return listings.sorted { $0.id < $1.id }
  }

  private static func listing(_ id: UInt32, _ directory: RunDirectory) -> DeviceListing? {
    let state: DeviceState
    do throws(HostError) {
      guard let found = try directory.state(id) else { return nil }
      state = found
    } catch {
      return DeviceListing(id: id, device: "/dev/ublkb\(id)", state: .unknown, problem: error.description)
    }
    let reading = try? CounterPage.read(directory.countersPath(id))
    let counters = reading?.counters.total
    var listing = DeviceListing(
      id: id, device: state.device, state: .live, size: state.size, image: state.config, layers: state.layers,
      upper: state.upper, queues: state.queues, depth: state.depth, data: state.dataPath.rawValue,
      pid: state.server.pid,
      requests: counters?.requests, bytes: counters?.bytes, writtenBytes: counters?.writtenBytes,
      flushes: counters?.flushes, errors: counters?.errors, created: state.created, recoveries: state.recoveries)
    (listing.state, listing.problem) = condition(
      state, server: state.server.status, hasDisk: BlockDevice(id: id).exists,
      changedBy: DeviceLock.owner(id, directory))
    if listing.state == .live || listing.state == .paused { listing.recording = reading?.recording }
    listing.remote = RemoteStatus.read(directory.remotePath(id))
    listing.written = UpperStatus.read(directory.upperPath(id))
    listing.warm = WarmStatus.read(directory.warmPath(id))
    // A dead server holds nothing.
    if listing.state == .dead || listing.state == .recovering { listing.warm?.pageCache?.isHeld = false }
    if listing.problem == nil { listing.problem = listing.remote?.trouble }
    return listing
  }

  /// How a device is, from its record, its server and its disk.
  /// `changedBy`: who is changing that, nil for nobody.
  static func condition(
    _ state: DeviceState, server: ProcessStatus?, hasDisk: Bool, changedBy owner: String? = nil
  ) -> (State, String?) {
    guard let server else {
      let gone = "its server (pid \(state.server.pid)) is gone"
      let removal = "`warmblk del -n \(state.id)` removes what is left"
      if RecoveryCheck.problem(state, server: nil, takesFromLiving: false) != nil || !hasDisk {
        return (.dead, "\(gone); \(removal)")
      }
      if let owner { return (.recovering, "\(gone), so reads wait; \(owner) is at it") }
      return (.dead, "\(gone), so reads wait; `warmblk recover -n \(state.id)` gives it a new one, \(removal)")
    }
    if server.isPaused {
      return (.paused, "its server is stopped, so reads wait; `kill -CONT \(state.server.pid)`")
    }
    if hasDisk { return (state.phase == .serving ? .live : .starting, nil) }
    return (state.phase == .serving ? .stopping : .starting, nil)
  }
}
