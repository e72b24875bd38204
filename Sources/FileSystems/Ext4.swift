/// The files of an ext2, ext3 or ext4 file system that fills a disk.
final class Ext4: FileSystem {
  let disk: Disk
  let layout: Ext4Superblock

  var blockSize: UInt64 { layout.blockSize }
  let root: UInt64 = 2
  let name: String

  init(_ disk: Disk, superblock record: [UInt8]) throws(FileSystemError) {
    self.disk = disk
    layout = try Ext4Superblock(record, diskSize: disk.size)
    let hasJournal = layout.compatible & 0x4 != 0
    let isExt4 = layout.incompatible & 0x40 != 0
    name = "\(isExt4 ? "ext4" : hasJournal ? "ext3" : "ext2") with blocks of \(layout.blockSize) bytes"
  }

  /// The byte range of `count` blocks from `block` on, all of which the file system must have. Block 0 is nobody's.
  func range(_ block: UInt64, _ count: UInt64, _ place: FileSystemError.Place) throws(FileSystemError) -> DiskRange {
    guard block > 0, block < layout.blockCount, count <= layout.blockCount - block else {
      throw .damaged(place, "lies at blocks \(block) + \(count) of \(layout.blockCount)")
    }
    return block * blockSize..<(block + count) * blockSize
  }
}
