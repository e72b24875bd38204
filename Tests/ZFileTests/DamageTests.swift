import Testing

@testable import ZFile

/// Damaged input gives an error that says what is wrong: never a trap, never wrong bytes.
@Suite("Damaged ZFiles")
struct DamageTests {
  private static let content: [UInt8] = {
    var random = Seeded(30)
    let text = (0..<600).map { "line \($0) \(random.next() % 1000)\n" }.joined()
    return Array(text.utf8) + random.bytes(5000)
  }()

  private func file(_ compression: Compression, checksums: Bool = true, rewritten: Bool = true) throws
    -> [UInt8]
  {
    try compress(Self.content, compression, blockSize: 4096, checksums: checksums, rewritten: rewritten)
  }

  private func error(of bytes: [UInt8]) -> ZFileError? {
    do throws(ZFileError) {
      _ = try WholeFile(bytes).content()
      return nil
    } catch { return error }
  }

  /// A record with its digest made right again.
  private func sealed(_ record: [UInt8]) -> [UInt8] {
    var bytes = record
    bytes.store(UInt32(0), at: 28)
    bytes.store(bytes.withUnsafeBytes { crc32cByTable($0, seed: 0) }, at: 28)
    return bytes
  }

  @Test("every flipped bit of a block and of its CRC is found", arguments: [Compression.lz4, .zstd])
  func flippedBits(compression: Compression) throws {
    let bytes = try file(compression)
    let whole = try WholeFile(bytes)
    var decoder = try BlockDecoder()
    let view = whole.table.view
    for block in 0..<view.blockCount {
      let (offset, length) = view.storedRange(ofBlocks: block..<block + 1)
      var stored = Array(bytes[Int(offset)..<Int(offset) + length])
      var content = [UInt8](repeating: 0, count: view.contentLength(ofBlock: block))
      for bit in stride(from: block % 3, to: length * 8, by: 3) {
        stored[bit / 8] ^= 1 << UInt8(bit % 8)
        let found = damage(stored, into: &content, compression, true, &decoder)
        guard case .blockChecksumMismatch? = found else {
          Issue.record("block \(block), bit \(bit): \(String(describing: found))")
          return
        }
        stored[bit / 8] ^= 1 << UInt8(bit % 8)
      }
      #expect(damage(stored, into: &content, compression, true, &decoder) == nil)
    }
  }

  private func damage(
    _ stored: [UInt8], into content: inout [UInt8], _ compression: Compression, _ hasChecksum: Bool,
    _ decoder: inout BlockDecoder
  ) -> ZFileError? {
    stored.withUnsafeBytes { stored in
      content.withUnsafeMutableBytes { content in
        do throws(ZFileError) {
          try decoder.decode(
            stored: stored, into: content, compression: compression, hasChecksum: hasChecksum)
          return nil
        } catch { return error }
      }
    }
  }

  @Test("junk without a CRC is decoded inside its bounds or refused", arguments: [Compression.lz4, .zstd])
  func junkBlocks(compression: Compression) throws {
    var random = Seeded(31)
    var decoder = try BlockDecoder()
    let bytes = try file(compression, checksums: false)
    let whole = try WholeFile(bytes)
    let (offset, length) = whole.table.view.storedRange(ofBlocks: 0..<1)
    let good = Array(bytes[Int(offset)..<Int(offset) + length])
    for round in 0..<3000 {
      var stored = round % 2 == 0 ? good : random.bytes(Int.random(in: 1...300, using: &random))
      if round % 2 == 0 {
        stored[Int.random(in: stored.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
        stored.removeLast(Int.random(in: 0..<4, using: &random))
      }
      // What lies around the content must stay as it is.
      var content = [UInt8](repeating: 0xEE, count: 4096 + 128)
      stored.withUnsafeBytes { stored in
        content.withUnsafeMutableBytes { content in
          let inner = UnsafeMutableRawBufferPointer(rebasing: content[64..<64 + 4096])
          try? decoder.decode(stored: stored, into: inner, compression: compression, hasChecksum: false)
        }
      }
      #expect(content[..<64].allSatisfy { $0 == 0xEE } && content[(64 + 4096)...].allSatisfy { $0 == 0xEE })
    }
  }

  @Test("a block of the wrong length is refused", arguments: [Compression.lz4, .zstd])
  func wrongLength(compression: Compression) throws {
    let whole = try WholeFile(try file(compression))
    var decoder = try BlockDecoder()
    let (offset, length) = whole.table.view.storedRange(ofBlocks: 0..<1)
    let stored = Array(whole.bytes[Int(offset)..<Int(offset) + length])
    var long = [UInt8](repeating: 0, count: 4097)
    #expect(
      damage(stored, into: &long, compression, true, &decoder)
        == .blockLengthMismatch(found: 4096, expected: 4097))
    var short = [UInt8](repeating: 0, count: 4095)
    #expect(damage(stored, into: &short, compression, true, &decoder) == .blockCorrupt(compression))
    var content = [UInt8](repeating: 0, count: 4096)
    for length in 0...4 {
      #expect(
        damage(Array(stored[..<length]), into: &content, compression, true, &decoder)
          == .blockTooShort(length))
    }
    #expect(damage([], into: &content, compression, false, &decoder) == .blockTooShort(0))
  }

  @Test("a file that was cut off anywhere is refused", arguments: [true, false])
  func truncated(rewritten: Bool) throws {
    let bytes = try file(.lz4, rewritten: rewritten)
    // An overwritten header needs everything but the trailer.
    let needed = rewritten ? bytes.count - ZFileRecord.size : bytes.count
    for length in stride(from: 0, to: needed, by: 13) {
      #expect(error(of: Array(bytes[..<length])) != nil, "\(length) bytes")
    }
    #expect(error(of: Array(bytes[..<(needed - 1)])) != nil)
    #expect(error(of: Array(bytes[..<needed])) == nil)
  }

  @Test("every flipped bit of a record with a digest is found")
  func flippedRecordBits() throws {
    let record = Array(try file(.lz4)[..<ZFileRecord.size])
    for bit in 0..<ZFileRecord.size * 8 {
      var damaged = record
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      // Without its own bit the digest does not count: files of old writers have none.
      guard bit != 32 * 8 + 4 else { continue }
      #expect(throws: ZFileError.self, "bit \(bit)") {
        try ZFileRecord(parsing: damaged.span.bytes, as: .header)
      }
    }
  }

  @Test("absurd records are refused by name")
  func absurdRecords() throws {
    let good = Array(try file(.lz4)[..<ZFileRecord.size])
    func parse(_ role: ZFileRecord.Role = .header, _ change: (inout [UInt8]) -> Void) -> ZFileError? {
      var bytes = good
      change(&bytes)
      do throws(ZFileError) {
        _ = try ZFileRecord(parsing: sealed(bytes).span.bytes, as: role)
        return nil
      } catch { return error }
    }
    #expect(parse { _ in } == nil)
    #expect(parse { $0[0] = 0 } == .notZFile)
    #expect(parse { $0[23] = 0 } == .notZFile)
    #expect(parse(.trailer) { _ in } == .wrongRole(wanted: .trailer))
    #expect(parse { $0[32] = 0x16 } == .wrongRole(wanted: .header))
    #expect(parse { $0[32] = 0x19 } == .notSealedData(flags: 0x19))
    #expect(parse(.trailer) { $0[32] = 0x12 } == .notSealedData(flags: 0x12))
    #expect(parse { $0[76] = 0 } == .unsupportedAlgorithm(0))
    #expect(parse { $0[76] = 3 } == .unsupportedAlgorithm(3))
    #expect(parse { $0[78] = 1 } == .unsupportedDictionary(bytes: 0))
    #expect(parse { $0.store(UInt32(7), at: 84) } == .unsupportedDictionary(bytes: 7))
    #expect(parse { $0[88] = 2 } == .invalidVerifyFlag(2))
    for size in [0, 1, 2048, 4097, 12288, 131_072, UInt32.max] {
      #expect(parse { $0.store(size, at: 72) } == .invalidBlockSize(size))
    }
    // What has no meaning may be anything.
    #expect(
      parse {
        $0[24] = 0
        for i in Array(36..<40) + [68, 71, 77, 79, 80, 89, 95, 96, 511] { $0[i] = 0xA5 }
        $0[32] |= 0xE0
      } == nil)
  }

  @Test("jump tables that lie outside of the file are refused, without arithmetic overflow")
  func absurdLocations() throws {
    let extremes: [UInt64] = [
      0, 1, 511, 512, 513, 4096, 1 << 31, 1 << 32, 1 << 62, 1 << 63, .max - 511, .max - 3, .max,
    ]
    for offset in extremes {
      for count in extremes {
        for size in extremes {
          for flags: ZFileRecord.Flags in [[.data, .sealed], [.header, .data, .overwritten]] {
            let record = ZFileRecord(
              flags: flags, indexOffset: offset, indexCount: count, originalSize: size, indexChecksum: 0,
              blockSize: 65536, compression: .lz4, hasChecksums: true)
            for fileSize: UInt64 in [0, 511, 512, 1024, 1 << 20, .max] {
              guard let location = try? JumpTable.location(record: record, fileSize: fileSize) else {
                continue
              }
              #expect(location.offset + UInt64(location.byteCount) <= fileSize)
            }
          }
        }
      }
    }
  }

  @Test("a provisional header is not asked where the jump table is")
  func provisionalHeader() throws {
    let bytes = try file(.lz4, rewritten: false)
    let header = try ZFileRecord(parsing: bytes.span.bytes, as: .header)
    #expect(throws: ZFileError.wrongRole(wanted: .trailer)) {
      try JumpTable.location(record: header, fileSize: UInt64(bytes.count))
    }
  }

  @Test("a jump table's entries are checked one by one, and their sum")
  func absurdTables() throws {
    let lengths: [UInt32] = [100, 200, 300]
    func build(_ entries: [UInt32], end: UInt64, digest: UInt32? = nil, checksums: Bool = true) -> ZFileError? {
      let record = ZFileRecord(
        flags: digest == nil ? [.data, .sealed] : [.data, .sealed, .digest], indexOffset: end, indexCount: 3,
        originalSize: 3 * 4096 - 5, indexChecksum: digest ?? 0, blockSize: 4096, compression: .lz4,
        hasChecksums: checksums)
      do throws(ZFileError) {
        let table = try JumpTable(parsing: entries.span.bytes, record: record, fileSize: end + 12 + 512)
        #expect((0...3).map { table.view.storedOffset(ofBlock: $0) } == [512, 612, 812, 1112])
        #expect((0..<3).map { table.view.contentLength(ofBlock: $0) } == [4096, 4096, 4091])
        #expect(table.view.storedRange(ofBlocks: 1..<3) == (612, 500))
        return nil
      } catch { return error }
    }
    #expect(build(lengths, end: 1112) == nil)
    #expect(build(lengths, end: 1113) == .indexOffsetMismatch(found: 1112, expected: 1113))
    #expect(build([100, 200], end: 1112) == .truncated(wanted: 12, found: 8))
    let crc = lengths.withUnsafeBytes { crc32cRaw($0, seed: 0) }
    #expect(build(lengths, end: 1112, digest: crc) == nil)
    #expect(
      build(lengths, end: 1112, digest: crc ^ 1) == .indexChecksumMismatch(found: crc, expected: crc ^ 1))
    for length: UInt32 in [0, 4, 4609, .max] {
      #expect(
        build([100, length, 300], end: 1112)
          == .invalidStoredLength(block: 1, length: length, allowed: 5...4608))
    }
    #expect(
      build([100, 0, 300], end: 1112, checksums: false)
        == .invalidStoredLength(block: 1, length: 0, allowed: 1...4608))
  }

  @Test("thousands of mutations give an error or the right bytes", arguments: [Compression.lz4, .zstd])
  func mutations(compression: Compression) throws {
    var random = Seeded(32)
    let files = [try file(compression), try file(compression, rewritten: false)]
    for round in 0..<1500 {
      var bytes = files[round % 2]
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        // Half of them in the records and the table, where they hurt most.
        let place = Int.random(in: 0..<4, using: &random)
        let range =
          place == 0
          ? 24..<96 : place == 1 ? (bytes.count - 560)..<(bytes.count - 416) : bytes.indices
        let at = Int.random(in: range, using: &random)
        bytes[at] = Bool.random(using: &random) ? bytes[at] ^ 0x10 : UInt8.random(in: 0...255, using: &random)
      }
      // Right digests let the damage through to what lies behind them.
      if Bool.random(using: &random) {
        bytes.replaceSubrange(..<512, with: sealed(Array(bytes[..<512])))
        bytes.replaceSubrange((bytes.count - 512)..., with: sealed(Array(bytes.suffix(512))))
      }
      do throws(ZFileError) {
        let whole = try WholeFile(bytes)
        let content = try whole.content()
        // A record with a right digest may well speak of less content; what it says must be the content's beginning.
        #expect(Self.content.starts(with: content), "round \(round)")
      } catch {
        #expect(!error.description.isEmpty)
      }
    }
  }

  @Test("every error has a sentence for people")
  func sentences() {
    let errors: [ZFileError] = [
      .truncated(wanted: 1, found: 0), .notZFile, .wrongRole(wanted: .trailer), .notSealedData(flags: 1),
      .digestMismatch(found: 1, expected: 2), .unsupportedAlgorithm(3), .unsupportedDictionary(bytes: 4),
      .invalidBlockSize(5), .invalidVerifyFlag(6), .indexOutOfBounds(offset: 7, count: 8, fileSize: 9),
      .blockCountMismatch(found: 1, expected: 2), .indexChecksumMismatch(found: 1, expected: 2),
      .invalidStoredLength(block: 0, length: 0, allowed: 5...9), .indexOffsetMismatch(found: 1, expected: 2),
      .blockTooShort(0), .blockChecksumMismatch(found: 1, expected: 2), .blockCorrupt(.lz4),
      .blockLengthMismatch(found: 1, expected: 2), .outOfMemory(.zstd),
      .malformedTar(offset: 512, problem: .checksum), .malformedTar(offset: 512, problem: .number),
      .malformedTar(offset: 512, problem: .paxRecord), .malformedTar(offset: 512, problem: .tooLong),
      .tarPayloadOutOfBounds(offset: 512, size: 1, fileSize: 2),
    ]
    for error in errors {
      #expect(error.description.hasPrefix("ZFile: ") || error.description.hasPrefix("tar: "))
    }
  }
}
