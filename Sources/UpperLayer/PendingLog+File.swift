import CLinux
import Glibc
import LSMT
import Posix

extension PendingLog {
  /// The log of a data file in `folder`, which is made when it is missing.
  ///
  /// What was there is kept when it belongs to this file and this boot; else it says nothing of it and is void.
  /// `voided` is how many entries were in a void log.
  static func open(
    folder: String, for identity: Identity, capacity: Int = standardCapacity
  ) throws(UpperError) -> (log: PendingLog, path: String, voided: UInt64) {
    let path = path(in: folder, identity)
    let log = try UpperError.pendingLog("opening it", path) { () throws(Errno) in
      try makeDirectories(folder)
      let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
      let bytes = byteCount(capacity: capacity)
      // All of it now: a page that cannot be had later would end the process.
      let result = posix_fallocate(file.rawValue, 0, bytes)
      if result != 0 { throw Errno(rawValue: result) }
      let mapping = try MemoryMapping(
        count: bytes, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED | MAP_POPULATE,
        file: file.rawValue, offset: 0)
      return PendingLog(mapping, capacity: capacity)
    }
    let found = log.identity
    if found == identity { return (log, path, 0) }
    let voided = found == nil ? 0 : log.count
    log.format(for: identity)
    return (log, path, voided)
  }

  /// Removes the file of a log that has nothing any more.
  static func remove(_ path: String) { _ = unlink(path) }

  /// Device and inode are in the name, so that logs of different files never meet.
  static func path(in folder: String, _ identity: Identity) -> String {
    "\(folder)/upper-\(String(identity.device, radix: 16))-\(String(identity.inode, radix: 16)).pending"
  }
}

extension PendingLog.Identity {
  /// Of an open data file, in the boot that this is.
  init(_ file: borrowing Descriptor, uuid: LayerUUID) throws(Errno) {
    let status = try file.status()
    var seconds: Int64 = 0
    var nanoseconds: UInt32 = 0
    // Where the file system has no birth time, the inode has to do.
    if clinux_birth_time(file.rawValue, &seconds, &nanoseconds) != 0 { (seconds, nanoseconds) = (0, 0) }
    self.init(
      boot: try Self.currentBoot(), device: UInt64(status.st_dev), inode: UInt64(status.st_ino),
      birthSeconds: seconds, birthNanoseconds: nanoseconds, uuid: uuid)
  }

  /// The kernel draws another one at each boot.
  private static func currentBoot() throws(Errno) -> [UInt8] {
    let text = String(decoding: try readFile("/proc/sys/kernel/random/boot_id"), as: UTF8.self)
    guard let id = LayerUUID(String(text.prefix { $0 != "\n" })) else { throw .ioError }
    return id.bytes
  }
}

extension UpperError {
  fileprivate static func pendingLog<T>(
    _ call: String, _ path: String, _ body: () throws(Errno) -> T
  ) throws(UpperError) -> T {
    do throws(Errno) { return try body() } catch { throw .pendingLog(path: path, call: call, error) }
  }
}
