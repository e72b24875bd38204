import Glibc
import Posix
import Testing

/// A writable disk as `warmblk create` makes it, and where to mount it.
final class WritableImage {
  let config: String
  var data: String { scratch("disk/upper.data") }
  var index: String { scratch("disk/upper.index") }
  let mountPoint: String
  let scratch: Scratch

  /// `words` are more of `create`'s: its size, its parent.
  init(_ place: Scratch.Place = .tmpfs, _ words: String...) throws {
    scratch = try Scratch(place)
    config = try Self.create(scratch("disk"), words)
    mountPoint = scratch("mnt")
    try makeDirectories(mountPoint)
  }

  /// Makes a writable disk in `folder`; its configuration.
  static func create(_ folder: String, _ words: [String]) throws -> String {
    let outcome = try Warmblk.start(["create", "-o", folder] + words).wait(seconds: 60)
    try #require(outcome.succeeded, "\(outcome)")
    return String(outcome.output.dropLast())
  }

  /// Bytes that the data file occupies.
  func occupied() throws -> Int { try #require(Int(try need("stat", "-c", "%b", data))) * 512 }

  /// Runs a shell with the disk mounted; what it prints. `$0` is the mount point.
  @discardableResult
  func mounted(_ disk: Disk, options: String = "rw", _ script: String) throws -> String {
    try need("mount", "-o", options, disk.path, mountPoint)
    let outcome = try run("bash", "-euc", script, mountPoint)
    try need("umount", mountPoint)
    try #require(outcome.succeeded, "\(outcome)")
    return outcome.output
  }
}

/// What fio finds when it writes a disk and checks all that it has written, with requests of many sizes.
struct VerifiedWrites {
  var megabytes = 24
  var depth = 16
  var words: [String] = []

  /// Writes and checks.
  func write(_ disk: Disk) throws -> Outcome { try fio(disk, "--do_verify=1") }
  /// Checks what `write` has written before.
  func check(_ disk: Disk) throws -> Outcome { try fio(disk, "--verify_only") }

  private func fio(_ disk: Disk, _ what: String) throws -> Outcome {
    let scratch = try Scratch(.tmpfs)
    let command = [
      "fio", "--name=write", "--filename=\(disk.path)", "--rw=randwrite", "--bsrange=512-96k",
      "--randseed=5", "--size=\(megabytes)M", "--ioengine=io_uring", "--direct=1", "--iodepth=\(depth)", "--thread",
      "--verify=crc32c", "--verify_fatal=1", "--fsync=64",
    ]
    return try Program(["sh", "-c", "cd \"$0\" && exec \"$@\"", scratch.path] + command + words + [what]).wait(
      seconds: 120)
  }
}
