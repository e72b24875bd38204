import Posix
import Testing

/// A disk each of whose blocks says where it belongs, and its sum, as fio writes and checks them: nothing of it reads
/// right that is damaged or at the wrong place.
enum CheckedDisk {
  static let size = 8 << 20

  /// Writes one, half of which can be compressed, to a file.
  static func write(_ path: String) throws {
    try need(
      "fio", "--name=write", "--filename=\(path)", "--rw=write", "--bs=4k", "--size=\(size)", "--ioengine=psync",
      "--verify=crc32c", "--do_verify=0", "--buffer_compress_percentage=50")
  }

  /// Reads all of it, at random places or in order, and checks every block.
  static func check(_ path: String, _ order: String, direct: Bool = true) throws -> Outcome {
    // What fio finds wrong it writes to files, where it is.
    let scratch = try Scratch(.tmpfs)
    return try run(
      "sh", "-c", "cd \"$0\" && exec \"$@\"", scratch.path, "fio", "--name=check", "--filename=\(path)",
      "--rw=\(order)", "--bs=4k", "--size=\(size)", "--ioengine=\(direct ? "io_uring" : "psync")", "--iodepth=16",
      "--direct=\(direct ? 1 : 0)", "--readonly", "--verify=crc32c", "--verify_fatal=1")
  }
}
