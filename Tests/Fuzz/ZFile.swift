import ZFile

/// Compressed blobs: whole files, as they are and with the digests switched off, which no mutation would get right;
/// and any bytes as one block.
enum TheFuzzer: Fuzzer {
  private static let flagsOffset = 32
  private static let verifyOffset = 88
  private static let digestFlag: UInt8 = 1 << 4

  static func run(_ input: [UInt8]) {
    open(input)
    var file = input
    for record in [0, file.count - ZFileRecord.size] where record >= 0 && file.count >= ZFileRecord.size {
      file[record + flagsOffset] &= ~digestFlag
    }
    open(file)
    decode(input)
  }

  private static func open(_ file: [UInt8]) {
    do throws(ZFileError) {
      let header = try record(file, at: 0, as: .header)
      let isFinal = header.isHeaderOverwritten
      let known = isFinal ? header : try record(file, at: file.count - ZFileRecord.size, as: .trailer)
      let size = UInt64(file.count)
      let location = try JumpTable.location(record: known, fileSize: size)
      let bytes = Array(file[Int(location.offset)..<Int(location.offset) + location.byteCount])
      let table = try JumpTable(parsing: bytes.span.bytes, record: known, fileSize: size)
      try readBlocks(table.view, of: file)
    } catch {
      require(!error.description.isEmpty, "an error without words")
    }
  }

  private static func record(
    _ file: [UInt8], at offset: Int, as role: ZFileRecord.Role
  ) throws(ZFileError) -> ZFileRecord {
    let bytes = Array(file[max(0, offset)...])
    let record = try ZFileRecord(parsing: bytes.span.bytes, as: role)
    var encoded = record.encoded()
    require(encoded.count == ZFileRecord.size, "a record of \(encoded.count) bytes")
    let again = try ZFileRecord(parsing: encoded.span.bytes, as: role)
    require(again == record, "written and parsed again it is \(again) instead of \(record)")
    if record.hasDigest {
      encoded[verifyOffset] ^= 1
      let isRefused = (try? ZFileRecord(parsing: encoded.span.bytes, as: role)) == nil
      require(isRefused, "a wrong digest is not noticed")
    }
    return record
  }

  private static func readBlocks(_ view: JumpTable.View, of file: [UInt8]) throws(ZFileError) {
    var decoder = try BlockDecoder()
    var end = UInt64(ZFileRecord.size)
    var content: UInt64 = 0
    for block in 0..<view.blockCount {
      let (offset, length) = view.storedRange(ofBlocks: block..<block + 1)
      require(offset == end && length <= view.maxStoredLength, "block \(block) at \(offset), not at \(end)")
      end += UInt64(length)
      require(end <= UInt64(file.count), "block \(block) ends at \(end), the file at \(file.count)")
      content += UInt64(view.contentLength(ofBlock: block))
      // Enough to see every kind, few enough to be fast.
      if block < 16 {
        let stored = Array(file[Int(offset)..<Int(end)])
        _ = try? decode(
          &decoder, stored, view.contentLength(ofBlock: block), view.compression, view.hasChecksums)
      }
    }
    require(content == view.originalSize, "\(content) bytes of content, not \(view.originalSize)")
  }

  /// Content goes to memory of just the right size, so that the address sanitizer sees a byte too many.
  private static func decode(
    _ decoder: inout BlockDecoder, _ stored: [UInt8], _ length: Int, _ compression: Compression,
    _ hasChecksum: Bool
  ) throws(ZFileError) {
    let content = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 1)
    defer { content.deallocate() }
    try stored.span.bytes.withUnsafeBytes { bytes throws(ZFileError) in
      try decoder.decode(stored: bytes, into: content, compression: compression, hasChecksum: hasChecksum)
    }
  }

  private static func decode(_ input: [UInt8]) {
    do throws(ZFileError) {
      var decoder = try BlockDecoder()
      for compression in [Compression.lz4, .zstd] {
        for length in [1, 4096] {
          _ = try? decode(&decoder, input, length, compression, false)
          _ = try? decode(&decoder, input, length, compression, true)
        }
      }
    } catch {
      fatalError("\(error)")
    }
  }

  static func seeds() -> [[UInt8]] {
    var random: UInt64 = 1
    let noise = (0..<5000).map { _ in
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: random >> 56)
    }
    let text = (0..<9000).map { UInt8(truncatingIfNeeded: 32 + $0 % 61) }
    var result: [[UInt8]] = []
    for compression in [Compression.lz4, .zstd] {
      for (content, blockSize) in [([], 4096), (text, 4096), (text, 65536), (noise, 4096)] {
        for checksums in [false, true] {
          for finalHeader in [false, true] {
            result.append(file(content, compression, blockSize, checksums, finalHeader))
          }
        }
      }
    }
    return result
  }

  private static func file(
    _ content: [UInt8], _ compression: Compression, _ blockSize: Int, _ checksums: Bool, _ finalHeader: Bool
  ) -> [UInt8] {
    var file: [UInt8] = []
    do throws(ZFileError) {
      var writer = try ZFileWriter(compression: compression, blockSize: blockSize, checksums: checksums)
      content.span.bytes.withUnsafeBytes { writer.append($0) { file += $0 } }
      let header = writer.finish { file += $0 }
      if finalHeader { file.replaceSubrange(..<header.count, with: header) }
    } catch {
      fatalError("\(error)")
    }
    return file
  }
}
