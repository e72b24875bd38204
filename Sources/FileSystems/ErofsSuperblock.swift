/// The superblock of EROFS: what is needed to find inodes and blocks (Linux, `fs/erofs/erofs_fs.h`). Its checksum is not
/// checked, for the reason that ``Ext4Superblock`` has.
struct ErofsSuperblock: Equatable {
  let blockBits: UInt64
  /// Where inodes count from, in bytes.
  let inodeArea: UInt64
  let root: UInt64
  let incompatible: UInt64

  static let offset: UInt64 = 1024

  /// `feature_incompat`; some bits mean two things that came together.
  enum Incompatible {
    static let wide: UInt64 = 0x80
    /// zero_padding, compr_cfgs or big_pcluster, chunked_file, device_table or compr_head2, ztailpacking, fragments or
    /// dedupe, xattr_prefixes.
    static let known: UInt64 = 0x7F
  }

  static func isThere(_ record: [UInt8]) -> Bool { record.u32(0) == 0xE0F5_E1E2 }

  /// - Parameter record: the 1024 bytes at byte 1024.
  init(_ record: [UInt8], diskSize: UInt64) throws(FileSystemError) {
    incompatible = record.u32(80)
    let unknown = incompatible & ~Incompatible.known
    if unknown & Incompatible.wide != 0 { throw .unsupported("the file system is EROFS with block numbers of 48 bits") }
    if unknown != 0 {
      throw .unsupported(
        "the file system is EROFS with features of a later time (incompat 0x\(String(unknown, radix: 16)))")
    }
    blockBits = UInt64(record[12])
    guard (9...16).contains(blockBits) else {
      throw .damaged(.superblock, "has blocks of 2^\(blockBits) bytes")
    }
    guard record[90] == 0 else { throw .unsupported("the file system is EROFS with directory blocks of another size") }
    root = UInt64(record.u16(14))
    inodeArea = record.u32(40) << blockBits
    guard inodeArea < diskSize else {
      throw .damaged(.superblock, "has inodes at byte \(inodeArea); the disk has \(diskSize) bytes")
    }
  }
}
