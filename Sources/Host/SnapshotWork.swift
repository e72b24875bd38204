import Device
import Glibc
import Image
import LSMT
import Logging
import Posix
import UpperLayer

/// A snapshot as the server makes it: of what is told in ``SnapshotJournal`` everything but completing after a crash.
///
/// For one thread at a time. After ``begin()`` nothing is lost whatever fails: ``finish()`` can be called again, and who opens
/// the image next does the same.
final class SnapshotWork: @unchecked Sendable {
  /// Milliseconds for requests under way to end; others are held meanwhile.
  private static let pauseMilliseconds = 2000
  /// How often the second pause is tried at once.
  private static let attempts = 5

  /// How far it is.
  private enum Stage { case begun, switched, sealed, told, adopted }

  private let device: Device
  private let directory: RunDirectory
  private let log: Logger
  /// Of the new upper.
  private let folder: TraceFolder
  /// The new upper as the user calls it, and as this process reaches it.
  private let named: UpperFiles
  private let reached: UpperFiles
  private var stage = Stage.begun
  private var journal: SnapshotJournal?
  private var old: Upper?
  private var layerBytes: UInt64 = 0
  private var pauses: [UInt64] = []

  init(_ device: Device, _ directory: RunDirectory, _ folder: TraceFolder, path: String, _ log: Logger) {
    self.device = device
    self.directory = directory
    self.folder = folder
    self.log = log
    let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "/"
    named = Self.files(in: parent)
    if folder.isAt(parent) {
      reached = named
    } else {
      // In the caller's mount table only. The upper is reached through the descriptor as long as this process lives.
      reached = Self.files(in: "/proc/self/fd/\(folder.rawValue)")
      _ = Unmanaged.passRetained(folder)
    }
  }

  /// Whether it was switched to, and something is left to be done.
  var isUnfinished: Bool { stage != .begun && stage != .adopted }

  private static func files(in folder: String) -> UpperFiles {
    UpperFiles(data: "\(folder)/\(Snapshots.dataName)", index: "\(folder)/\(Snapshots.indexName)")
  }

  /// Makes all files and switches. When it throws everything is as before.
  func begin() throws(HostError) {
    guard let state = try directory.state(device.id), let old = device.upper, let upper = state.upper else {
      throw .refused("\(device.path) cannot be written: there is nothing to make a layer of")
    }
    do throws(DeviceError) { try device.checkSnapshot() } catch { throw .device(error) }
    let uuid = LayerUUID.random()
    do throws(UpperError) {
      try UpperFiles.create(
        data: reached.data, index: reached.index, kind: .append, virtualSize: old.virtualSize, uuid: uuid,
        parentUUID: old.header.uuid)
    } catch { throw .upper(error) }
    do throws(HostError) {
      let files = UpperFiles(data: upper.data, index: upper.index)
      do throws(ImageError) {
        let journal = try SnapshotJournal(
          config: state.config, old: files, oldUUID: old.header.uuid, new: named, newUUID: uuid)
        try journal.write()
        self.journal = journal
      } catch { throw .image(error) }
      // Not before: of an upper that nothing names, nobody would find what is kept in the run directory.
      try goOn(with: try openUpper(below: old))
    } catch {
      try abandon(error)
    }
    self.old = old
    stage = .switched
    log.info("\(device.path): writes go to \(named.data) now, after a pause of \(pauses[0] / 1000) us")
  }

  private func openUpper(below old: Upper) throws(HostError) -> Upper {
    do throws(UpperError) {
      return try Upper.open(
        reached, pendingFolder: directory.path, defaultVirtualSize: old.virtualSize, parentUUID: old.header.uuid)
    } catch {
      throw .upper(error)
    }
  }

  private func goOn(with next: Upper) throws(HostError) {
    do throws(DeviceError) {
      pauses.append(try device.switchUpper(to: next, Deadline(milliseconds: Self.pauseMilliseconds)))
    } catch {
      try? next.close()
      throw .device(error)
    }
  }

  /// Leaves nothing of what was made. With a journal that cannot be removed the new upper must stay too.
  private func abandon(_ error: HostError) throws(HostError) {
    if let journal {
      do throws(ImageError) { try journal.remove() } catch let problem {
        throw .refused("\(error); \(problem): the snapshot is made when the image is opened the next time")
      }
    }
    removeFiles()
    throw error
  }

  private func removeFiles() {
    folder.remove(Snapshots.dataName)
    folder.remove(Snapshots.indexName)
  }

  /// Does what is left to be done after the switch.
  func finish() throws(HostError) -> Snapshots.Report {
    guard let journal, let old else { throw .refused("no snapshot of \(device.path) was begun") }
    do throws(HostError) {
      if stage == .switched { try seal(old) }
      if stage == .sealed { try tell(journal, old) }
      if stage == .told { try adopt(journal, old) }
    } catch {
      throw .refused(
        "\(error). Writes go to \(named.data), and nothing is lost; what is left of the snapshot is done by the next "
          + "`warmblk snapshot`, or when the image is opened the next time")
    }
    // Nobody reads from its index any more.
    defer { self.old = nil }
    return Snapshots.Report(
      layer: journal.old.data, layerBytes: layerBytes, uuid: old.header.uuid.description, upper: named.data,
      config: journal.config, pausesMicroseconds: pauses.map { $0 / 1000 })
  }

  private func seal(_ old: Upper) throws(HostError) {
    do throws(UpperError) { try old.seal() } catch { throw .upper(error) }
    layerBytes = old.dataBytes
    stage = .sealed
    // Others may read it now.
    do throws(Errno) { try old.close() } catch { log.warning("\(old.files.data): \(error) when it was closed") }
  }

  private func tell(_ journal: SnapshotJournal, _ old: Upper) throws(HostError) {
    do throws(ImageError) {
      try journal.rewriteConfig(layerBytes: layerBytes)
      _ = unlink(old.files.index)
      try journal.remove()
    } catch { throw .image(error) }
    stage = .told
    if var state = try directory.state(device.id) {
      state.layers = device.image.layers.map(\.blob.path) + [journal.old.data]
      state.upper = DeviceState.Upper(data: named.data, index: named.index)
      try directory.write(state)
    }
  }

  /// The image's index with the new layer takes a while, and no request waits for it.
  private func adopt(_ journal: SnapshotJournal, _ old: Upper) throws(HostError) {
    let image: Image
    do throws(ImageError) {
      image = try device.image.adding(
        layer: journal.old.data, openPath: "/proc/self/fd/\(old.dataDescriptor)",
        config: try ImageConfig.load(journal.config))
    } catch { throw .image(error) }
    var attempt = 1
    while true {
      do throws(DeviceError) {
        pauses.append(try device.adopt(image, Deadline(milliseconds: Self.pauseMilliseconds)))
        stage = .adopted
        return
      } catch {
        if attempt == Self.attempts { throw .device(error) }
        attempt += 1
        usleep(100_000)
      }
    }
  }
}

extension TraceFolder {
  /// Whether `path` leads to it, in this process's mount table.
  func isAt(_ path: String) -> Bool {
    var (one, other) = (stat(), stat())
    return stat(path, &one) == 0 && fstat(rawValue, &other) == 0 && one.st_dev == other.st_dev
      && one.st_ino == other.st_ino
  }
}
