/// The files of an EROFS that fills a disk.
final class Erofs: FileSystem {
  let disk: Disk
  let layout: ErofsSuperblock

  var blockSize: UInt64 { 1 << layout.blockBits }
  var root: UInt64 { layout.root }
  var name: String { "EROFS with blocks of \(blockSize) bytes" }

  init(_ disk: Disk, superblock record: [UInt8]) throws(FileSystemError) {
    self.disk = disk
    layout = try ErofsSuperblock(record, diskSize: disk.size)
  }

  /// Where inode `number` begins, in bytes.
  func position(_ number: UInt64) throws(FileSystemError) -> UInt64 {
    guard number < (disk.size - layout.inodeArea) / 32 else {
      throw .damaged(.inode(number), "lies behind the end of the disk")
    }
    return layout.inodeArea + number * 32
  }

  /// The byte range of `count` blocks from `block` on, all of which the disk must have.
  func range(_ block: UInt64, _ count: UInt64, _ inode: UInt64) throws(FileSystemError) -> DiskRange {
    let blocks = disk.size.dividedUp(by: blockSize)
    guard block < blocks, count <= blocks - block else {
      throw .damaged(.inode(inode), "has content at blocks \(block) + \(count) of \(blocks)")
    }
    return block << layout.blockBits..<min((block + count) << layout.blockBits, disk.size)
  }
}
