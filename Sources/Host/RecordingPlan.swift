import Posix
import Trace

/// What to record and when to end it.
public struct RecordingPlan: Codable, Equatable, Sendable {
  /// The form of the file.
  public enum Form: String, Codable, Sendable {
    /// Our own: `AccessTrace`.
    case warmblk
    /// overlaybd's: `OverlaybdTrace`.
    case overlaybd
  }

  /// Bytes that the file may have unless something else is said: about five million accesses.
  public static let bytesMaxDefault: UInt64 = 64 << 20

  /// The file's name in its folder.
  public var name: String
  /// The file as the user calls it, for messages.
  public var path: String
  /// The form of the file.
  public var form: Form
  /// The end after so many milliseconds; nil: not by time.
  public var durationMax: Int?
  /// The end when nothing was touched first for so many milliseconds, once anything was; nil: not by that.
  public var idleMax: Int?
  /// The end when the file would have more bytes. The recording has at most four times as much in memory.
  public var bytesMax: UInt64

  /// A recording to `path`, an absolute one.
  public init(
    path: String, form: Form = .warmblk, durationMax: Int? = nil, idleMax: Int? = nil,
    bytesMax: UInt64 = Self.bytesMaxDefault
  ) {
    let end = path.lastIndex(of: "/")
    name = end.map { String(path[path.index(after: $0)...]) } ?? path
    self.path = path
    self.form = form
    self.durationMax = durationMax
    self.idleMax = idleMax
    self.bytesMax = bytesMax
  }

  /// Throws for what no command would have said.
  func check() throws(HostError) {
    guard !name.isEmpty, name != ".", name != "..", name.utf8.count <= 200,
      !name.utf8.contains(where: { $0 == 0 || $0 == 47 })
    else { throw .refused("\(path) is no name for a trace: name a file, with at most 200 bytes after the last slash") }
    guard (Self.bytesMin...UInt64(AccessTrace.bytesMax)).contains(bytesMax) else {
      throw .refused(
        "a trace of at most \(bytesMax) bytes is not possible: \(Self.bytesMin) to \(AccessTrace.bytesMax)")
    }
    for limit in [durationMax, idleMax] {
      if let limit, limit < 1 { throw .refused("a time of \(limit) ms is not possible") }
    }
  }

  /// Bytes of the smallest limit that leaves room for a trace.
  public static let bytesMin: UInt64 = 64 << 10

  /// Bytes of the file that an access takes, about: most have less in our own form, and all have this in overlaybd's.
  private var accessBytes: UInt64 {
    switch form {
    case .warmblk: 14
    case .overlaybd: 24
    }
  }

  /// Accesses after which to end.
  var accessesMax: Int { min(Int(bytesMax / accessBytes), AccessTrace.accessesMax) }
}

/// What became of a recording.
public struct RecordingReport: Codable, Equatable, Sendable {
  /// Why it ended.
  public enum Reason: String, Codable, Sendable {
    case stopped, time, idle, full
    /// The device was taken away.
    case removed
    /// The lock file was removed.
    case unlocked

    /// For people.
    public var words: String {
      switch self {
      case .stopped: "stopped"
      case .time: "its time was over"
      case .idle: "nothing new was read for a while"
      case .full: "its file has all the bytes that it may have"
      case .removed: "the device was taken away"
      case .unlocked: "the lock file was removed"
      }
    }
  }

  /// The file as the user calls it.
  public var path: String
  /// Accesses in the file.
  public var accesses: Int
  /// Bytes of the disk that they are.
  public var bytes: UInt64
  /// How long was recorded, milliseconds.
  public var milliseconds: UInt64
  /// Reads of which a part is missing.
  public var lost: UInt64
  /// Bytes of the file.
  public var fileBytes: Int
  /// Why it ended.
  public var reason: Reason

  /// One line for people.
  public var line: String {
    "\(path): \(accesses) accesses, \(formatBytes(bytes)) of the disk, "
      + "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s, \(lost) lost; \(formatBytes(UInt64(fileBytes))) written "
      + "(\(reason.words))"
  }
}
