import Glibc
import Posix

extension PendingLog {
  /// A log whose data file is gone.
  struct Orphan: Equatable {
    /// The log.
    let path: String
    /// Where the data file was.
    let data: String
    /// Entries that were nowhere else.
    let count: UInt64

    var line: String {
      "removed \(path), the log of \(count) pending index entries of \(data): that file is not there any more"
    }
  }

  /// Removes the logs in `folder` that can be of no use: the file system says that their data file is gone. Whatever cannot
  /// be told for certain stays: a file that was moved, a file system that is not mounted, or not here.
  static func removeOrphans(in folder: String) -> [Orphan] {
    let orphans = ((try? listDirectory(folder)) ?? []).sorted().compactMap { name in
      name.hasPrefix("upper-") && name.hasSuffix(".pending") ? orphan("\(folder)/\(name)") : nil
    }
    return orphans.filter { unlink($0.path) == 0 }
  }

  /// Nil for one that matters, or may.
  private static func orphan(_ path: String) -> Orphan? {
    guard let file = try? Descriptor.open(path, O_RDONLY | O_NOFOLLOW), let status = try? file.status(),
      status.st_size >= byteCount(capacity: standardCapacity),
      let mapping = try? MemoryMapping(
        count: byteCount(capacity: standardCapacity), protection: PROT_READ, flags: MAP_SHARED, file: file.rawValue,
        offset: 0)
    else { return nil }
    let log = PendingLog(mapping, capacity: standardCapacity)
    guard let identity = log.identity, let origin = log.origin, isGone(identity, origin) else { return nil }
    return Orphan(path: path, data: origin.path, count: log.count)
  }

  /// Whether the data file does not exist any more, at no path, nor open without one.
  private static func isGone(_ identity: Identity, _ origin: Origin) -> Bool {
    var named = stat()
    if stat(origin.path, &named) == 0, UInt64(named.st_dev) == identity.device, UInt64(named.st_ino) == identity.inode {
      return false
    }
    guard let handle = origin.handle else { return false }
    var folder = origin.path
    while folder != "/" {
      folder = folderPath(of: folder)
      guard stat(folder, &named) == 0 else { continue }
      // Something else may be mounted there by now, or what was may not be mounted.
      guard UInt64(named.st_dev) == identity.device, let opened = try? Descriptor.open(folder, O_RDONLY | O_DIRECTORY)
      else { return false }
      return handle.exists(on: opened) == false
    }
    return false
  }
}
