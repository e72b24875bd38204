import CLinux
import Glibc
import Posix

/// The command's side of `Workload`, between fork and exec.
struct WorkloadChild {
  let options: WorkloadOptions
  /// The disk, `/dev/ublkbN`.
  let device: String
  /// The process that waits for the command.
  let parent: pid_t

  /// Becomes the command; why that was not possible goes to `failures`.
  func run(failures: Int32) -> Never {
    do throws(HostError) {
      try prepare()
      if let mountPoint = options.mountPoint { try mount(at: mountPoint) }
      try execute()
    } catch {
      var text = error.description
      text.withUTF8 { _ = write(failures, $0.baseAddress, $0.count) }
      _exit(1)
    }
  }

  private func prepare() throws(HostError) {
    setpgid(0, 0)
    if clinux_prctl(CLINUX_PR_SET_PDEATHSIG, UInt(SIGKILL)) != 0 { throw .system(what: "PR_SET_PDEATHSIG", .last) }
    if getppid() != parent { throw .refused("the process that waits for the command is gone") }
    try HostError.describing("give the command a mount table of its own") { () throws(Errno) in
      if clinux_unshare_mounts() != 0 { throw .last }
      // What is mounted from here on is seen from here only. Slave rather than private: a file system that its user
      // unmounts meanwhile is not kept busy.
      if Glibc.mount(nil, "/", nil, UInt(MS_SLAVE | MS_REC), nil) != 0 { throw .last }
    }
  }

  // MARK: The mount

  private func mount(at mountPoint: String) throws(HostError) {
    let type = if let known = options.fileSystem { known } else { try detectFileSystem() }
    var error = mount(at: mountPoint, type, "")
    if error?.rawValue == EROFS, let data = Self.withoutRecovery[type] {
      // A journal that has to be replayed first, on a disk that cannot be written.
      error = mount(at: mountPoint, type, data)
    }
    if let error {
      throw .system(what: "mount \(device) on \(mountPoint) as \(type), read-only; `dmesg` may say more", error)
    }
  }

  /// The mount option that leaves the journal alone, for those that have one.
  private static let withoutRecovery = ["ext4": "noload", "ext3": "noload", "xfs": "norecovery"]

  private func mount(at mountPoint: String, _ type: String, _ data: String) -> Errno? {
    Glibc.mount(device, mountPoint, type, UInt(MS_RDONLY), data) == 0 ? nil : .last
  }

  /// By the magic numbers in the first 4 KiB, which a mount reads as well: the trace has nothing that a start does not need,
  /// as it would after blkid, which looks at the whole disk.
  private func detectFileSystem() throws(HostError) -> String {
    var block = [UInt8](repeating: 0, count: 4096)
    try HostError.describing("read the superblock of \(device)") { () throws(Errno) in
      let disk = try Descriptor.open(device)
      posix_fadvise(disk.rawValue, 0, 0, POSIX_FADV_RANDOM)
      let result: Result<Int, Errno> = block.withUnsafeMutableBytes { buffer in
        do throws(Errno) { return .success(try disk.readFully(into: buffer, at: 0)) } catch { return .failure(error) }
      }
      _ = try result.get()
    }
    for (type, offset, magic) in Self.magics where block[offset...].starts(with: magic) { return type }
    throw .refused(
      "\(device): neither ext2, ext3, ext4, EROFS nor XFS is on the disk: name its file system with --type; a disk with "
        + "partitions, or without a file system, is for a command that reads $WARMBLK_DEVICE itself, without --mount")
  }

  private static let magics: [(type: String, offset: Int, magic: [UInt8])] = [
    ("ext4", 1080, [0x53, 0xEF]), ("erofs", 1024, [0xE2, 0xE1, 0xF5, 0xE0]), ("xfs", 0, Array("XFSB".utf8)),
  ]

  // MARK: The command

  private func execute() throws(HostError) -> Never {
    setenv("WARMBLK_DEVICE", device, 1)
    // Reading from a terminal whose foreground we are not would stop the command.
    if isatty(0) == 1 {
      try HostError.describing("open /dev/null") { () throws(Errno) in
        if dup2(try Descriptor.open("/dev/null").rawValue, 0) < 0 { throw .last }
      }
    }
    // What its starter has done to signals is not for the command.
    var none = sigset_t()
    sigemptyset(&none)
    for number in [SIGPIPE, SIGHUP, SIGTERM, SIGINT] { signal(number, SIG_DFL) }
    pthread_sigmask(SIG_SETMASK, &none, nil)
    var words: [UnsafeMutablePointer<CChar>?] = options.command.map { strdup($0) } + [nil]
    execvp(options.command[0], &words)
    throw .system(what: "run \(options.command[0])", .last)
  }
}
