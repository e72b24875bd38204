import Device
import FoundationEssentials
import Posix
import Ublk

/// What is known of a device that Warmblk made: the file `N.json` in the run directory, written by its server.
public struct DeviceState: Codable, Equatable, Sendable {
  /// Where the server is with the device.
  public enum Phase: String, Codable, Sendable {
    /// The number is taken, the disk is not there yet.
    case starting
    /// The disk answers.
    case serving
  }

  /// A writable layer, absolute paths.
  public struct Upper: Codable, Equatable, Sendable {
    /// What was written.
    public var data: String
    /// Where it is on the disk.
    public var index: String

    /// Both paths.
    public init(data: String, index: String) {
      self.data = data
      self.index = index
    }
  }

  /// Who starts a new server when one dies.
  public enum Keeper: String, Codable, Sendable {
    /// Nobody, until somebody says `warmblk recover`.
    case nobody
    /// Nobody: the command that asked for the device still waits for it, and takes it away when its server dies.
    case starter
    /// `warmblk watch`.
    case watcher
    /// Whoever supervises `warmblk serve --recover`.
    case supervisor
  }

  /// The version of this file's form.
  public static let currentVersion = 2

  /// The form of the file; files of another version are not touched.
  public var version = DeviceState.currentVersion
  /// The number N of `/dev/ublkbN`.
  public var id: UInt32
  /// Where the server is.
  public var phase: Phase
  /// Who serves.
  public var server: ProcessIdentity
  /// The image's configuration file, absolute.
  public var config: String
  /// The layers' files, bottom to top.
  public var layers: [String]
  /// The files of the writable layer; nil when the disk is read-only.
  public var upper: Upper?
  /// Bytes of the disk.
  public var size: UInt64
  /// Hardware queues.
  public var queues: Int
  /// Requests that a queue may have in flight.
  public var depth: Int
  /// How data gets into requests.
  public var dataPath: DataPath
  /// When it was made, in seconds since 1970.
  public var created: Int64
  /// What the driver granted.
  public var features: Features
  /// What the driver keeps of this record, so that a device of the same number that somebody else made is noticed.
  public var mark: UInt64
  /// Who starts a new server when this one dies.
  public var keeper: Keeper
  /// The server's program, absolute: what a new server is made of.
  public var program: String
  /// What else a new server has to know.
  public var settings: ServeSettings
  /// How often a new server has taken the device over.
  public var recoveries: Int

  /// All fields.
  public init(
    id: UInt32, phase: Phase, server: ProcessIdentity, config: String, layers: [String], upper: Upper? = nil,
    size: UInt64, queues: Int, depth: Int, dataPath: DataPath, created: Int64, features: Features = [],
    mark: UInt64 = 0, keeper: Keeper = .nobody, program: String = "", settings: ServeSettings = ServeSettings(),
    recoveries: Int = 0
  ) {
    self.id = id
    self.phase = phase
    self.server = server
    self.config = config
    self.layers = layers
    self.upper = upper
    self.size = size
    self.queues = queues
    self.depth = depth
    self.dataPath = dataPath
    self.created = created
    self.features = features
    self.mark = mark
    self.keeper = keeper
    self.program = program
    self.settings = settings
    self.recoveries = recoveries
  }

  /// `/dev/ublkbN`.
  public var device: String { "/dev/ublkb\(id)" }

  /// What the driver's device must be like for a new server to go on with it.
  var shape: DeviceShape { DeviceShape(queues: queues, depth: depth, features: features, mark: mark) }

  private struct VersionOnly: Decodable { let version: Int }

  /// Parses a state file. `id` is the number in its name, `name` what errors call it.
  public static func parse(_ bytes: [UInt8], id: UInt32, name: String) throws(HostError) -> DeviceState {
    let state: DeviceState
    do {
      let data = Data(bytes)
      let version = try JSONDecoder().decode(VersionOnly.self, from: data).version
      guard version == currentVersion else {
        throw HostError.badState(
          path: name,
          problem:
            "has version \(version), this warmblk knows \(currentVersion): use the warmblk that made the device"
        )
      }
      state = try JSONDecoder().decode(DeviceState.self, from: data)
    } catch let error as HostError {
      throw error
    } catch {
      throw .badState(path: name, problem: "is damaged (\(bytes.count) bytes): \(error)")
    }
    guard state.id == id else {
      throw .badState(path: name, problem: "speaks of device \(state.id), its name of device \(id)")
    }
    guard state.server.pid > 1 else {
      throw .badState(path: name, problem: "names process \(state.server.pid) as its server")
    }
    guard (1...UblkLimit.queuesMax).contains(state.queues), (1...UblkLimit.queueDepthMax).contains(state.depth) else {
      throw .badState(path: name, problem: "speaks of \(state.queues) queues of \(state.depth), which no device has")
    }
    guard state.size > 0 else { throw .badState(path: name, problem: "speaks of a disk without a size") }
    return state
  }

  /// The file's bytes.
  func encoded() throws(HostError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return try [UInt8](encoder.encode(self)) + [UInt8(ascii: "\n")]
    } catch {
      throw .badState(path: "the state of device \(id)", problem: "cannot be written: \(error)")
    }
  }
}
