import Posix

/// An image with a small ext4 that holds one file, for tests that take a disk away while it is mounted.
final class MountedImage {
  let config: String
  let mountPoint: String
  /// A file of 2.7 MB.
  var file: String { "\(mountPoint)/numbers" }
  private let folder: Scratch

  init() throws {
    folder = try Scratch()
    mountPoint = folder("mnt")
    try makeDirectories(folder("source"))
    try makeDirectories(mountPoint)
    let raw = folder("raw")
    try need(
      "bash", "-c", "seq 400000 >\(folder("source"))/numbers && mke2fs -q -t ext4 -d \(folder("source")) \(raw) 8M")
    config = try Warmblk.importing(raw, to: folder("image"), [])
  }

  func mount(_ disk: Disk) throws { try need("mount", "-o", "ro,noload", disk.path, mountPoint) }
  func unmount() throws { try need("umount", mountPoint) }
}
