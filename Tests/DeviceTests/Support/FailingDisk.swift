import Posix

/// A disk of 32 MiB with ext4 on it, mounted, whose sectors can be made to fail. Goes away with its owner.
final class FailingDisk {
  enum Failure { case nothing, everyOtherMiB, everything }

  let mountPoint = "/run/warmblk-failing"
  private let name = "warmblk-failing"
  private static let sectors = 65_536

  init() throws {
    try RAMDisk.load()
    try makeDirectories(mountPoint)
    try need("dmsetup", "create", name, "--noudevsync", "--table", Self.table(.nothing))
    let node = "/dev/" + (try need("dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname", name))
    try need("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", node)
    try need("mount", "-o", "noatime", node, mountPoint)
  }

  deinit {
    for command in [["umount", mountPoint], ["dmsetup", "remove", "--noudevsync", name]] {
      _ = try? Program(command).wait(seconds: 20)
    }
  }

  /// From now on. What the kernel had in memory of the disk's files is forgotten, so that all of it must be read.
  func fail(_ failure: Failure) throws {
    try need("dmsetup", "suspend", "--noudevsync", "--nolockfs", name)
    try need("dmsetup", "load", name, "--table", Self.table(failure))
    try need("dmsetup", "resume", "--noudevsync", name)
    try need("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
  }

  private static func table(_ failure: Failure) -> String {
    let lines = stride(from: 0, to: sectors, by: 2048).map { start in
      let fails = failure == .everything || failure == .everyOtherMiB && start / 2048 % 2 == 1
      return "\(start) 2048 " + (fails ? "error" : "linear \(RAMDisk.second) \(start)")
    }
    return lines.joined(separator: "\n")
  }
}
