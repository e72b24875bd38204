/// Where each block of a ZFile is stored.
///
/// The file has a 32-bit length for each block; what a reader needs is their running sum. It is kept as a 64-bit
/// offset for every sixteenth block and a 32-bit distance from there for each: 4.5 bytes a block.
public struct JumpTable: ~Copyable {
  /// What readers use; valid while the table lives.
  public let view: View

  /// Builds the table from the file's entries.
  ///
  /// - Parameters:
  ///   - bytes: exactly the bytes that `location` told.
  ///   - record: the trailer, or the header if it was overwritten.
  ///   - fileSize: bytes of the file (of the payload, if it is wrapped in tar).
  /// - Throws: `wrongRole`, `truncated`, `indexOutOfBounds`, `blockCountMismatch`, `indexChecksumMismatch`,
  ///   `invalidStoredLength`, `indexOffsetMismatch`.
  public init(parsing bytes: RawSpan, record: ZFileRecord, fileSize: UInt64) throws(ZFileError) {
    let location = try Self.location(record: record, fileSize: fileSize)
    guard bytes.byteCount == location.byteCount else {
      throw .truncated(wanted: location.byteCount, found: bytes.byteCount)
    }
    if record.hasDigest {
      let found = bytes.withUnsafeBytes { crc32cRaw($0, seed: 0) }
      guard found == record.indexChecksum else {
        throw .indexChecksumMismatch(found: found, expected: record.indexChecksum)
      }
    }
    let storage = Storage(blockCount: location.byteCount / Self.entrySize)
    do {
      let longest = try storage.fill(from: bytes, record: record)
      view = View(storage, record: record, maxStoredLength: longest)
    } catch {
      storage.deallocate()
      throw error
    }
  }

  deinit {
    view.bases.deallocate()
    view.distances.deallocate()
  }
}

// The memory is written once, before anyone else sees it.
extension JumpTable: @unchecked Sendable {}

extension JumpTable {
  /// Bytes of an entry in the file.
  static let entrySize = 4
  /// Blocks that share a 64-bit offset, as a power of two.
  @usableFromInline static let groupShift = 4

  /// Where a file's jump table lies, in bytes from the start of the file.
  ///
  /// - Parameters:
  ///   - record: the trailer, or the header if it was overwritten.
  ///   - fileSize: bytes of the file (of the payload, if it is wrapped in tar).
  /// - Throws: `wrongRole`, `indexOutOfBounds`, `blockCountMismatch`.
  public static func location(record: ZFileRecord, fileSize: UInt64) throws(ZFileError) -> (
    offset: UInt64, byteCount: Int
  ) {
    // A provisional header's index fields are junk.
    guard record.role == .trailer || record.isHeaderOverwritten else { throw .wrongRole(wanted: .trailer) }
    // Behind the table of an overwritten header there is a trailer too, but nobody needs it.
    let behind = record.role == .trailer ? UInt64(ZFileRecord.size) : 0
    let offset = record.indexOffset
    let outOfBounds = ZFileError.indexOutOfBounds(
      offset: offset, count: record.indexCount, fileSize: fileSize)
    guard fileSize >= behind, offset >= ZFileRecord.size, offset <= fileSize - behind else {
      throw outOfBounds
    }
    guard record.indexCount <= (fileSize - behind - offset) / UInt64(entrySize),
      let byteCount = Int(exactly: record.indexCount * UInt64(entrySize))
    else { throw outOfBounds }
    let blockSize = UInt64(record.blockSize)
    let expected = record.originalSize / blockSize + (record.originalSize % blockSize == 0 ? 0 : 1)
    guard record.indexCount == expected else {
      throw .blockCountMismatch(found: record.indexCount, expected: expected)
    }
    return (offset, byteCount)
  }
}

/// A jump table's two arrays while they are filled.
struct Storage {
  let blockCount: Int
  let bases: UnsafeMutablePointer<UInt64>
  let distances: UnsafeMutablePointer<UInt32>

  /// One entry more than there are blocks: the end of the last.
  init(blockCount: Int) {
    self.blockCount = blockCount
    bases = .allocate(capacity: (blockCount >> JumpTable.groupShift) + 1)
    distances = .allocate(capacity: blockCount + 1)
  }

  func deallocate() {
    bases.deallocate()
    distances.deallocate()
  }

  /// Sums the lengths up and returns the greatest.
  func fill(from bytes: RawSpan, record: ZFileRecord) throws(ZFileError) -> Int {
    let shortest: UInt32 = record.hasChecksums ? UInt32(checksumSize) + 1 : 1
    let allowed = shortest...(record.blockSize + storedExcess)
    var offset = UInt64(ZFileRecord.size)
    var longest: UInt32 = 0
    for block in 0..<blockCount {
      mark(block, at: offset)
      let length = bytes.little(UInt32.self, at: block * JumpTable.entrySize)
      guard allowed.contains(length) else {
        throw .invalidStoredLength(block: block, length: length, allowed: allowed)
      }
      longest = max(longest, length)
      offset += UInt64(length)
    }
    mark(blockCount, at: offset)
    guard offset == record.indexOffset else {
      throw .indexOffsetMismatch(found: offset, expected: record.indexOffset)
    }
    return Int(longest)
  }

  /// Sixteen blocks are far less than 4 GiB, so a distance always fits.
  private func mark(_ block: Int, at offset: UInt64) {
    let group = block >> JumpTable.groupShift
    if block & (1 << JumpTable.groupShift - 1) == 0 { (bases + group).initialize(to: offset) }
    (distances + block).initialize(to: UInt32(offset - bases[group]))
  }
}
