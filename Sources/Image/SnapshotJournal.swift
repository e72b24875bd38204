import Glibc
import JSON
import LSMT
import Posix
import UpperLayer

/// What a snapshot has begun, in a file beside the configuration, `image.json.snapshot`, from before the new upper is
/// written to until the configuration names it. Whoever opens the image to write to it completes what it says.
///
/// On disk, in this order: the new upper's empty files; the journal; (writes go to the new upper); the old upper is sealed;
/// the configuration names it as a layer and the new upper; the old index file is gone; the journal is gone. All that is
/// durable before the next step. Between the second step and the last one the image is: the new upper, on the old upper as
/// it is, on the layers of the configuration.
public struct SnapshotJournal: Equatable, Sendable {
  /// The configuration, absolute, links followed.
  public let config: String
  /// What becomes a layer.
  public let old: UpperFiles
  let oldUUID: LayerUUID
  /// What is written to from now on.
  public let new: UpperFiles
  let newUUID: LayerUUID

  private static let version = 1
  private static let sizeLimit = 64 << 10

  /// A snapshot of the image at `config` that makes a layer of `old`, its upper, and goes on with `new`.
  public init(
    config: String, old: UpperFiles, oldUUID: LayerUUID, new: UpperFiles, newUUID: LayerUUID
  ) throws(ImageError) {
    self.config = try Self.realPath(config)
    self.old = old
    self.oldUUID = oldUUID
    self.new = new
    self.newUUID = newUUID
    let named = try ImageConfig.load(self.config).upperFiles()
    guard let named, Self.areSame(named.data, old.data) else {
      throw .refused(
        "\(config): its upper is \(named?.data ?? "gone"), and the device has \(old.data): put the configuration back as it "
          + "was")
    }
  }

  private init(
    parsedAt config: String, old: UpperFiles, oldUUID: LayerUUID, new: UpperFiles, newUUID: LayerUUID
  ) {
    self.config = config
    self.old = old
    self.oldUUID = oldUUID
    self.new = new
    self.newUUID = newUUID
  }

  /// Where the journal of a configuration is.
  private static func path(for config: String) -> String { config + ".snapshot" }

  /// The journal's file.
  public var path: String { Self.path(for: config) }

  // MARK: On disk

  /// The journal of the configuration at `config`; nil when no snapshot is half done.
  static func load(_ config: String) throws(ImageError) -> SnapshotJournal? {
    let config = try realPath(config)
    let path = path(for: config)
    if !fileExists(path) { return nil }
    let bytes: [UInt8]
    do throws(Errno) { bytes = try readFile(path, limit: sizeLimit) } catch {
      throw .system(call: "reading the journal of a snapshot", path: path, error)
    }
    guard let value = JSONValue(bytes), value["version"]?.integer == UInt64(version),
      let (old, oldUUID) = upper(value["old"], config), let (new, newUUID) = upper(value["new"], config)
    else {
      throw .refused(
        "\(path): is no journal of a snapshot that this version can read: the version that has written it completes it")
    }
    return SnapshotJournal(parsedAt: config, old: old, oldUUID: oldUUID, new: new, newUUID: newUUID)
  }

  private static func upper(_ value: JSONValue?, _ config: String) -> (UpperFiles, LayerUUID)? {
    guard let data = value?["data"]?.string, let index = value?["index"]?.string,
      let uuid = value?["uuid"]?.string.flatMap({ LayerUUID($0) })
    else { return nil }
    let folder = folder(of: config)
    return (UpperFiles(data: absolutePath(data, in: folder), index: absolutePath(index, in: folder)), uuid)
  }

  /// Writes it; durable when this returns.
  public func write() throws(ImageError) {
    func value(_ files: UpperFiles, _ uuid: LayerUUID) -> JSONValue {
      .object([
        .init(key: "data", value: .string(name(of: files.data))),
        .init(key: "index", value: .string(name(of: files.index))),
        .init(key: "uuid", value: .string(uuid.description)),
      ])
    }
    let object = JSONValue.object([
      .init(key: "version", value: .number("\(Self.version)")), .init(key: "old", value: value(old, oldUUID)),
      .init(key: "new", value: value(new, newUUID)),
    ])
    do throws(Errno) { try writeFileAtomically(path, object.encoded(), durable: true) } catch {
      throw .system(call: "writing the journal of a snapshot", path: path, error)
    }
  }

  /// Names a file that is below the configuration's folder by its place there, so that the folder can be moved.
  private func name(of path: String) -> String {
    let prefix = folder(of: config) + "/"
    return path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : path
  }

  /// Removes the journal: nothing has been begun, or all is done.
  public func remove() throws(ImageError) {
    do throws(Errno) {
      if unlink(path) != 0, Errno.last != .noEntry { throw .last }
      try Descriptor.open(folder(of: config), O_RDONLY | O_DIRECTORY).synchronize()
    } catch {
      throw .system(call: "removing the journal of a snapshot", path: path, error)
    }
  }

  /// Has the configuration name the old upper, which is sealed, as its topmost layer, and the new one.
  /// `layerBytes`: of its file.
  public func rewriteConfig(layerBytes: UInt64) throws(ImageError) {
    let named = try ImageConfig.load(config).upperFiles()
    if let named, Self.areSame(named.data, new.data) { return }
    guard let named, Self.areSame(named.data, old.data) else {
      throw .refused(
        "\(config): its upper is \(named?.data ?? "gone"), and \(path) has begun a snapshot of \(old.data): put the "
          + "configuration back as it was, or remove the journal if the image is as you want it")
    }
    var edit = try ConfigEdit(config)
    try edit.lowerUpper(size: layerBytes)
    edit.setUpper(data: name(of: new.data), index: name(of: new.index))
    try edit.save()
  }

  // MARK: Completing

  /// Completes the snapshot that was begun of the image at `config`, if one was: what the user should know, a sentence each.
  /// `pendingFolder`: where the log of the old upper is if its server was killed.
  public static func complete(_ config: String, pendingFolder: String) throws(ImageError) -> [String] {
    guard let journal = try load(config) else { return [] }
    return try journal.complete(pendingFolder)
  }

  private func complete(_ pendingFolder: String) throws(ImageError) -> [String] {
    try requireHeader(new.data, newUUID, "what was written since is there")
    try requireHeader(old.data, oldUUID, "what was written before is there")
    var notes: [String] = []
    do throws(UpperError) {
      let upper = try Upper.open(old, pendingFolder: pendingFolder, defaultVirtualSize: 0)
      notes = upper.recovery.lines
      try upper.seal()
      do throws(Errno) { try upper.close() } catch {
        throw .system(call: "ending it", path: old.data, error)
      }
    } catch {
      guard case .sealed = error else { throw .upper(error) }
      if let data = try? Descriptor.open(old.data) {
        UpperFiles.removePending(of: data, uuid: oldUUID, pendingFolder: pendingFolder)
      }
    }
    var status = stat()
    guard stat(old.data, &status) == 0 else {
      throw .system(call: "looking at the sealed layer", path: old.data, .last)
    }
    try rewriteConfig(layerBytes: UInt64(status.st_size))
    // It has no meaning any more.
    _ = unlink(old.index)
    try remove()
    notes.append("completed the snapshot that was begun: \(old.data) is a layer of \(config), \(new.data) its upper")
    return notes
  }

  private func requireHeader(_ data: String, _ uuid: LayerUUID, _ why: String) throws(ImageError) {
    let problem: String
    do throws(Errno) {
      let file = try Descriptor.open(data, O_RDONLY | O_NONBLOCK)
      var bytes = [UInt8](repeating: 0, count: LayerRecord.size)
      let result: Result<Int, Errno> = bytes.withUnsafeMutableBytes { buffer in
        do throws(Errno) { return .success(try file.readFully(into: buffer, at: 0)) } catch { return .failure(error) }
      }
      bytes.removeLast(bytes.count - (try result.get()))
      let record = try? LayerRecord(parsing: bytes.span.bytes, as: .header)
      if record?.uuid == uuid { return }
      problem = record.map { "is of the layer \($0.uuid), not \(uuid)" } ?? "has no header of a layer"
    } catch {
      problem = "cannot be read: \(error)"
    }
    throw .refused(
      "\(data): \(problem): \(path) has begun a snapshot, which needs it, because \(why); put the file back")
  }

  /// Throws when a snapshot of the image of `config` is half done: what the configuration says is not all of it.
  static func requireNone(_ config: ImageConfig) throws(ImageError) {
    guard let path = config.path, fileExists(path), let journal = try load(path) else { return }
    throw .refused(
      "\(path): a snapshot of it was begun and is not finished (\(journal.path)): if a device has it, wait a moment or see "
        + "`warmblk list`; else `warmblk add --config \(path)`, `recover` or `compact` completes it first")
  }

  // MARK: Paths

  private static func realPath(_ path: String) throws(ImageError) -> String {
    guard let real = realpath(path, nil) else {
      throw .system(call: "looking for the image configuration", path: path, .last)
    }
    defer { free(real) }
    return String(cString: real)
  }

  /// Whether two paths lead to the same file.
  private static func areSame(_ first: String, _ second: String) -> Bool {
    if first == second { return true }
    var (one, other) = (stat(), stat())
    return stat(first, &one) == 0 && stat(second, &other) == 0 && one.st_dev == other.st_dev
      && one.st_ino == other.st_ino
  }
}
