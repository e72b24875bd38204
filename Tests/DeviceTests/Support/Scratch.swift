import Glibc
import Posix
import Testing

/// A folder that goes away with its owner, on a file system of the kind that a test asks for.
final class Scratch: Sendable {
  enum Place: String, CaseIterable, Sendable, CustomTestStringConvertible {
    /// ext4 on a RAM disk: what a real disk is like to the kernel.
    case ext4
    case tmpfs
    var testDescription: String { rawValue }
  }

  let path: String

  init(_ place: Place = .ext4) throws {
    let base = place == .tmpfs ? "/dev/shm" : try Self.ramdisk.get()
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

  /// Where the RAM disk is mounted. It is there until the machine ends.
  private static let ramdisk = Result { () throws -> String in
    let mountPoint = "/run/warmblk-tests"
    try RAMDisk.load()
    try need("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", RAMDisk.first)
    try makeDirectories(mountPoint)
    try need("mount", RAMDisk.first, mountPoint)
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
