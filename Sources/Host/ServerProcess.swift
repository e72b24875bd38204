import CLinux
import Glibc
import Logging
import Posix

/// What a process owes to those who use the disk that it serves: to be there, and to need nothing that waits for it.
enum ServerProcess {
  /// Descriptors that a server may need: layers, rings, and what comes later.
  private static let descriptorsWanted: UInt64 = 65536

  /// The program that runs, absolute, also when its file was replaced since; empty where /proc is not there.
  static let program: String = {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes {
      readlink("/proc/self/exe", $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    let path = String(decoding: buffer[..<max(0, count)], as: UTF8.self)
    return path.hasSuffix(" (deleted)") ? String(path.dropLast(10)) : path
  }()

  /// Before the image is opened. What is refused costs safety under memory pressure and is said; nothing fails.
  static func prepare(_ log: Logger) {
    raiseDescriptorLimit(log)
    // A huge page would make the few pages that a server writes cost 2 MiB each.
    _ = clinux_prctl(CLINUX_PR_SET_THP_DISABLE, 1)
    protectFromOutOfMemory(log)
    lockMemory(log)
    // Of this thread only; a queue's thread does it for itself. Memory that this thread asks for must not be had by
    // writing to a disk whose stop it is waiting for.
    if clinux_prctl(CLINUX_PR_SET_IO_FLUSHER, 1) != 0 {
      log.warning("PR_SET_IO_FLUSHER: \(Errno.last): the disk may stall when memory is short; run as root")
    }
  }

  private static func raiseDescriptorLimit(_ log: Logger) {
    var soft: UInt64 = 0
    var hard: UInt64 = 0
    guard clinux_get_limit(CLINUX_RLIMIT_NOFILE, &soft, &hard) == 0, soft < descriptorsWanted else { return }
    if clinux_set_limit(CLINUX_RLIMIT_NOFILE, descriptorsWanted, max(hard, descriptorsWanted)) == 0 { return }
    if clinux_set_limit(CLINUX_RLIMIT_NOFILE, hard, hard) == 0, hard >= 1024 { return }
    log.warning(
      "the limit of open files stays at \(max(soft, hard)): \(Errno.last); raise it with `ulimit -n`")
  }

  /// A killed server is a disk that fails under its users: there is always something better to kill.
  private static func protectFromOutOfMemory(_ log: Logger) {
    do throws(Errno) {
      try writeInPlace("/proc/self/oom_score_adj", Array("-1000".utf8))
    } catch {
      log.warning("oom_score_adj: \(error): the server may be killed when memory is short; run as root")
    }
  }

  /// A page of ours that had to come back from a swap on our own disk would wait for ever. On fault: only what is
  /// used is locked, so that reserved buffers cost nothing.
  private static func lockMemory(_ log: Logger) {
    if mlockall(CLINUX_MCL_EVERYTHING_ON_FAULT) != 0 {
      log.warning(
        "mlockall: \(Errno.last): never put swap on this disk; run as root, or raise the limit with `ulimit -l unlimited`"
      )
    }
  }

  /// Gives the process a mount table of its own. After the image's files were opened: they keep the user's mounts
  /// busy, as open files should, and `fuser -m` finds us.
  ///
  /// Without one, a server that outlives the shell, container or `unshare -m` in which `add` was called would be the
  /// last user of that mount table, with a mount of its own disk in it: the disk could never be let go.
  ///
  /// A copy of the table keeps each mount in it alive, so propagation matters. `MS_PRIVATE` would keep every file
  /// system of the machine busy that its user unmounts later. `MS_SLAVE` lets unmounting reach us, and nothing of
  /// ours reach the user. Mounts that do not propagate at all (no systemd, most containers) become private whatever
  /// is asked: those are taken out of our copy, except what the server itself still looks at.
  static func leaveMountTable(needing paths: [String], _ log: Logger) {
    guard clinux_unshare_mounts() == 0 else {
      log.warning("no own mount table: \(Errno.last): end the server before you leave this namespace")
      return
    }
    if mount(nil, "/", nil, UInt(MS_SLAVE | MS_REC), nil) != 0 {
      log.warning("the mount table cannot be detached from the user's: \(Errno.last)")
    }
    let mounts = MountEntry.read("self") ?? []
    for mountPoint in dispensable(mounts, needing: paths) {
      // One that is busy or gone is not worth a word.
      _ = umount2(mountPoint, Int32(MNT_DETACH))
    }
  }

  /// The private mounts that are not on the way to one of `paths`, innermost first.
  static func dispensable(_ mounts: [MountEntry], needing paths: [String]) -> [String] {
    mounts.reversed().filter { entry in
      !entry.receivesChanges && !paths.contains { isBelow($0, entry.mountPoint) }
    }.map(\.mountPoint)
  }

  private static func isBelow(_ path: String, _ folder: String) -> Bool {
    folder == "/" || path == folder || path.hasPrefix(folder + "/")
  }
}
