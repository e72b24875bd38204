import Glibc
import LSMT
import Posix

extension UpperFiles {
  /// Removes what a server has kept of an upper that was killed after it was sealed: a sealed layer has all of it.
  /// `data` is the data file, `uuid` what its header says.
  public static func removePending(of data: borrowing Descriptor, uuid: LayerUUID, pendingFolder: String) {
    guard let identity = try? PendingLog.Identity(data, uuid: uuid) else { return }
    PendingLog.remove(PendingLog.path(in: pendingFolder, identity))
  }

  /// How many entries of an upper a server that was killed in this boot has acknowledged, and no flush has brought into
  /// the index file. Opening the upper for writing brings them there; who only reads the files does not see them.
  ///
  /// `data` is the upper's data file, `uuid` what its header says. Changes nothing.
  public static func pendingEntries(
    of data: borrowing Descriptor, path: String, uuid: LayerUUID, pendingFolder: String
  ) throws(UpperError) -> UInt64 {
    let identity = try UpperError.describing("asking for its identity", path) { () throws(Errno) in
      try PendingLog.Identity(data, uuid: uuid)
    }
    let logPath = PendingLog.path(in: pendingFolder, identity)
    do throws(Errno) {
      let file = try Descriptor.open(logPath, O_RDONLY | O_NOFOLLOW)
      let bytes = PendingLog.byteCount(capacity: PendingLog.standardCapacity)
      // One that is shorter was never finished, so nothing was acknowledged with it.
      guard try file.status().st_size >= bytes else { return 0 }
      let mapping = try MemoryMapping(
        count: bytes, protection: PROT_READ, flags: MAP_SHARED, file: file.rawValue, offset: 0)
      let log = PendingLog(mapping, capacity: PendingLog.standardCapacity)
      return log.identity == identity ? log.count : 0
    } catch .noEntry {
      return 0
    } catch {
      throw .pendingLog(path: logPath, call: "looking into it", error)
    }
  }
}
