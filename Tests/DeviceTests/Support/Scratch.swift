import Glibc
import Posix
import Testing

/// A folder that goes away with its owner, on a file system of the kind that a test asks for.
final class Scratch: Sendable {
  enum Place: String, Sendable, CustomTestStringConvertible {
    /// ext4 on a RAM disk: what a real disk is like to the kernel.
    case ext4
    case tmpfs
    /// In a file of 512 MiB.
    case xfs, btrfs
    var testDescription: String { rawValue }
  }

  let path: String

  init(_ place: Place = .ext4) throws {
    let base =
      switch place {
      case .ext4: try Self.ramdisk.get()
      case .tmpfs: "/dev/shm"
      case .xfs: try Self.xfs.get()
      case .btrfs: try Self.btrfs.get()
      }
    var template = Array("\(base)/test.XXXXXX".utf8CString)
    let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) != nil }
    try #require(made, "cannot make a folder in \(base)")
    path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  deinit { _ = try? run("rm", "-rf", path) }

  /// A path in the folder.
  func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    try writeFileAtomically(self(name), bytes)
    return self(name)
  }

  @discardableResult
  func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

  /// Copies a file here; its new path.
  @discardableResult
  func copy(_ path: String) throws -> String {
    let name = String(path.split(separator: "/").last ?? "")
    if !fileExists(self(name)) { try write(name, try readFile(path)) }
    return self(name)
  }

  /// A configuration of layer files, bottom to top.
  func config(_ layers: [String], _ name: String = "image.json", more: String = "") throws -> String {
    let lowers = layers.map { #"{"file": "\#($0)"}"# }.joined(separator: ", ")
    return try write(name, #"{"lowers": [\#(lowers)]\#(more)}"#)
  }

  // Where they are mounted, until the machine ends.
  private static let ramdisk = Result { () throws -> String in
    let mountPoint = "/run/warmblk-tests"
    try RAMDisk.load()
    try need("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", RAMDisk.first)
    try makeDirectories(mountPoint)
    try need("mount", RAMDisk.first, mountPoint)
    return mountPoint
  }
  private static let xfs = Result { try loop("xfs", ["mkfs.xfs", "-q"]) }
  private static let btrfs = Result { try loop("btrfs", ["mkfs.btrfs", "-q"]) }

  private static func loop(_ name: String, _ make: [String]) throws -> String {
    let (file, mountPoint) = ("/dev/shm/\(name).img", "/run/warmblk-\(name)")
    try need("truncate", "-s", "512M", file)
    let outcome = try Program(make + [file]).wait(seconds: 60)
    try #require(outcome.succeeded, "\(outcome)")
    try makeDirectories(mountPoint)
    try need("mount", "-o", "loop", file, mountPoint)
    return mountPoint
  }
}

/// The kernel's RAM disks, 256 MiB each; memory is used for what is written.
enum RAMDisk {
  static let first = "/dev/ram0"
  /// One that is free for a test.
  static let second = "/dev/ram1"

  static func load() throws {
    if !fileExists(first) { try need("modprobe", "brd", "rd_nr=2", "rd_size=262144") }
  }
}
