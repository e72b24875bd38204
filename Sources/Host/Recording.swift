import Device
import Glibc
import Posix

/// Recording what is read of a device: `warmblk trace start` and `stop`.
public enum Recording {
  /// Begins to record device `id` as `plan` says. The plan's path is absolute; its folder must be there.
  public static func start(_ id: UInt32, _ plan: RecordingPlan, _ directory: RunDirectory) throws(HostError) {
    try plan.check()
    let folder = try TraceFolder.of(plan.path)
    _ = try ControlClient(id: id, directory: directory).ask(
      .startRecording(plan: plan), passing: folder.rawValue, Deadline(milliseconds: 10_000))
  }

  /// Ends the recording of device `id` and waits until its trace is written, `timeout` seconds at most. One that has
  /// ended by itself is told of once.
  public static func stop(_ id: UInt32, _ directory: RunDirectory, timeout: Int) throws(HostError) -> RecordingReport {
    let deadline = Deadline(milliseconds: timeout * 1000)
    let reply = try ControlClient(id: id, directory: directory).ask(.stopRecording, deadline)
    guard case .recorded(let report) = reply else {
      throw .refused("the server of device \(id) answers something else; is it of another version of warmblk?")
    }
    return report
  }
}

/// What a server shall record from its first breath, with its folder open.
struct FirstRecording {
  let plan: RecordingPlan
  let folder: TraceFolder
  let lock: LockFile?

  /// What the options and the image ask for; nil for nothing. Before the server leaves the caller's mount table.
  static func wanted(_ options: ServerOptions, warn: (String) -> Void) throws(HostError) -> FirstRecording? {
    let asked = try emptyFile(options.config.recordTracePath, warn)
    if options.warm.level == .pageCache, let path = options.recordPath ?? asked {
      throw .refused(
        "recording to \(path) with --warm-into page-cache: the filling would be recorded, and what is read from memory "
          + "later would not; use --warm-into blob")
    }
    if let path = options.recordPath {
      if let asked {
        throw .refused("--record \(path): the image's recordTracePath, \(asked), is empty and recorded into; use one")
      }
      let plan = RecordingPlan(path: path)
      try plan.check()
      return FirstRecording(plan: plan, folder: try TraceFolder.of(path), lock: nil)
    }
    guard let path = asked else { return nil }
    let plan = RecordingPlan(path: path, form: .overlaybd)
    let folder = try TraceFolder.of(path)
    let lock = try HostError.describing("make \(path).lock") { () throws(Errno) in
      try LockFile(plan.name, in: folder)
    }
    return FirstRecording(plan: plan, folder: folder, lock: lock)
  }

  /// `path` if it is an empty file, as overlaybd wants it for recording; what is in another one is replayed.
  private static func emptyFile(_ path: String?, _ warn: (String) -> Void) throws(HostError) -> String? {
    guard let path else { return nil }
    var status = stat()
    if stat(path, &status) != 0 {
      warn("recordTracePath: \(path): \(Errno.last): nothing is recorded; make an empty file there to record into")
      return nil
    }
    if status.st_mode & S_IFMT != S_IFREG {
      throw .refused("recordTracePath: \(path) is no file; name an empty file to record into")
    }
    return status.st_size == 0 ? path : nil
  }

  /// Begins: the device's recorder runs since the device was made.
  func begin(_ device: Device) throws(HostError) -> RecordingSession {
    try RecordingSession(device, plan, folder, lock: lock)
  }

  /// There will be no device.
  func abandon() { lock?.abandon(folder) }
}
