import Testing

@testable import ZFile

@Suite("The tar around a layer")
struct TarTests {
  /// A header as Go's archive/tar writes it, to be changed by a test.
  struct Header {
    var bytes = [UInt8](repeating: 0, count: 512)

    init(type: Character = "0", size: String = "00000000012\0", name: String = "overlaybd.commit") {
      put(name, at: 0)
      put("0000444\0", at: 100)
      put(size, at: 124)
      put(String(type), at: 156)
      put("ustar\0" + "00", at: 257)
    }

    mutating func put(_ text: String, at offset: Int) {
      bytes.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
    }

    func sealed(signed: Bool = false) -> [UInt8] {
      var header = self
      header.put("        ", at: 148)
      let sum = header.bytes.reduce(0) { $0 + (signed ? Int(Int8(bitPattern: $1)) : Int($1)) }
      let digits = String(sum, radix: 8)
      header.put(String(repeating: "0", count: 6 - digits.count) + digits + "\0 ", at: 148)
      return header.bytes
    }
  }

  private func parse(_ bytes: [UInt8], fileSize: UInt64 = 1 << 40) throws(ZFileError) -> TarWrapper? {
    try TarWrapper(parsing: bytes.span.bytes, fileSize: fileSize)
  }

  private func padded(_ text: String) -> [UInt8] {
    Array(text.utf8) + [UInt8](repeating: 0, count: (512 - text.utf8.count % 512) % 512)
  }

  @Test("a plain ustar header puts the layer at byte 512")
  func ustar() throws {
    let tar = try #require(try parse(Header().sealed()))
    #expect(tar.payloadOffset == 512 && tar.payloadSize == 10)
  }

  @Test("a pax header puts the layer at byte 1536 and its size wins")
  func pax() throws {
    let bytes =
      Header(type: "x", size: "00000000020\0").sealed() + padded("16 size=4737695\n") + Header().sealed()
    let tar = try #require(try parse(bytes))
    #expect(tar.payloadOffset == 1536 && tar.payloadSize == 4_737_695)
  }

  @Test("other pax records, global ones, long names and long links are passed over")
  func extensions() throws {
    let bytes =
      Header(type: "g", size: "00000000016\0").sealed() + padded("14 comment=xy\n")
      + Header(type: "L", size: "00000000004\0").sealed() + padded("abc")
      + Header(type: "x", size: "00000000027\0").sealed() + padded("9 ab=cde\n14 size=70000\n")
      + Header().sealed()
    let tar = try #require(try parse(bytes))
    #expect(tar.payloadOffset == 512 * 7 && tar.payloadSize == 70000)
  }

  @Test("pax records longer than a block move the layer")
  func longPax() throws {
    let comment = "611 comment=" + String(repeating: "x", count: 598) + "\n"
    let bytes = Header(type: "x", size: "00000001143\0").sealed() + padded(comment) + Header().sealed()
    #expect(try #require(try parse(bytes)).payloadOffset == 2048)
  }

  @Test("GNU's headers, an unfinished archive, a damaged header and a short file are no archives")
  func notTar() throws {
    var gnu = Header()
    gnu.put("ustar  \0", at: 257)
    #expect(try parse(gnu.sealed()) == nil)
    var version = Header()
    version.put("01", at: 263)
    #expect(try parse(version.sealed()) == nil)
    #expect(try parse(TarWrapper.placeholder()) == nil)
    var damaged = Header().sealed()
    damaged[3] ^= 1
    #expect(try parse(damaged) == nil)
    #expect(try parse(Array(Header().sealed().dropLast())) == nil)
    #expect(try parse([]) == nil)
  }

  @Test("the checksum may be a sum of unsigned or of signed bytes", arguments: [false, true])
  func checksum(signed: Bool) throws {
    let header = Header(name: "overlaybd-\u{E9}\u{FC}").sealed(signed: signed)
    #expect(try parse(header) != nil)
    var random = Seeded(20)
    for _ in 0..<200 {
      var damaged = header
      damaged[Int.random(in: 0..<100, using: &random)] ^= 1 << UInt8.random(in: 0..<7, using: &random)
      #expect(try parse(damaged) == nil)
    }
  }

  @Test("sizes beyond the file are refused, however large")
  func hugeSizes() throws {
    let octal = Header(size: "777777777777").sealed()
    #expect(
      throws: ZFileError.tarPayloadOutOfBounds(offset: 512, size: 0o777777777777, fileSize: 1 << 20)
    ) { try parse(octal, fileSize: 1 << 20) }
    #expect(try #require(try parse(octal)).payloadSize == 0o777777777777)
    for value in ["9223372036854775807", "9223372036854775808", "99999999999999999999999"] {
      let text = " size=\(value)\n"
      let record = "\(text.utf8.count + 2)" + text
      let size = String(record.utf8.count, radix: 8)
      let header = Header(type: "x", size: String(repeating: "0", count: 11 - size.count) + size + "\0")
      let bytes = header.sealed() + padded(record) + Header().sealed()
      #expect(throws: ZFileError.self) { try parse(bytes) }
    }
    #expect(throws: ZFileError.self) { try parse(Header().sealed(), fileSize: 0) }
    #expect(try #require(try parse(Header().sealed(), fileSize: 522)).payloadSize == 10)
    #expect(throws: ZFileError.self) { try parse(Header().sealed(), fileSize: 521) }
  }

  @Test("a base-256 size is understood, one beyond 2^63 refused")
  func base256() throws {
    var header = Header()
    header.bytes.replaceSubrange(124..<136, with: [0x80, 0, 0, 0, 0, 0, 0, 0x12, 0, 0, 0, 0])
    #expect(try #require(try parse(header.sealed())).payloadSize == 0x12_0000_0000)
    header.bytes.replaceSubrange(124..<136, with: [0x80, 0, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0])
    #expect(throws: ZFileError.malformedTar(offset: 0, problem: .number)) { try parse(header.sealed()) }
    header.bytes.replaceSubrange(124..<136, with: [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    #expect(throws: ZFileError.malformedTar(offset: 0, problem: .number)) { try parse(header.sealed()) }
  }

  @Test(
    "malformed pax records are named",
    arguments: ["0 size=1\n", "99 size=1\n", "9 size=1 ", "x size=1\n", "8 size1\n", " "])
  func malformedPax(record: String) {
    let size = String(record.utf8.count, radix: 8)
    let header = Header(type: "x", size: String(repeating: "0", count: 11 - size.count) + size + "\0")
    #expect(throws: ZFileError.malformedTar(offset: 0, problem: .paxRecord)) {
      try parse(header.sealed() + padded(record) + Header().sealed())
    }
  }

  @Test("endless extensions and a damaged header behind the first one are named")
  func malformedChain() {
    let long = Header(type: "L", size: "00000001000\0").sealed() + padded(String(repeating: "n", count: 512))
    #expect(throws: ZFileError.malformedTar(offset: 4096, problem: .tooLong)) {
      try parse(long + long + long + long + Header().sealed())
    }
    #expect(throws: ZFileError.malformedTar(offset: 0, problem: .tooLong)) {
      try parse(Header(type: "x", size: "77777777777\0").sealed() + long)
    }
    #expect(throws: ZFileError.malformedTar(offset: 1024, problem: .checksum)) {
      try parse(long + Header().bytes)
    }
  }

  @Test("no mutation of a header traps")
  func mutations() throws {
    var random = Seeded(21)
    let header = TarWrapper.header(payloadSize: 4_737_695)
    for _ in 0..<3000 {
      var bytes = header
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      // Repairs the first checksum so that what lies behind it is reached.
      var first = Header()
      first.bytes = Array(bytes[..<512])
      if Bool.random(using: &random) { bytes.replaceSubrange(..<512, with: first.sealed()) }
      bytes.removeLast(
        Int.random(in: 0..<8, using: &random) == 0 ? Int.random(in: 0..<1536, using: &random) : 0)
      let fileSize = UInt64(5_000_000)
      if let tar = try? parse(bytes, fileSize: fileSize) {
        #expect(tar.payloadOffset + tar.payloadSize <= fileSize)
      }
    }
  }

  @Test("the headers that are written are overlaybd's, byte for byte")
  func written() throws {
    let bytes = TarWrapper.header(payloadSize: 4_737_695)
    #expect(bytes.count == TarWrapper.headerSize)
    #expect(
      Array(bytes[124..<136]) == [0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20, 0x32, 0x30, 0x20])
    #expect(Array(bytes[148..<157]) == [0x20, 0x20, 0x35, 0x33, 0x35, 0x30, 0x20, 0x00, 0x78])
    #expect(String(decoding: bytes[512..<529], as: UTF8.self) == "16 size=4737695\n\0")
    let ten = [UInt8](repeating: 0x20, count: 10)
    let expected: [UInt8] =
      [0x31, 0x30, 0x30, 0x36, 0x34, 0x34, 0x20, 0x00] + [0x20, 0x20, 0x20, 0x20, 0x20, 0x30, 0x20, 0x00]
      + [0x20, 0x20, 0x20, 0x20, 0x20, 0x30, 0x20, 0x00] + ten + [0x30, 0x20] + ten + [0x30, 0x20]
      + [0x20, 0x31, 0x32, 0x30, 0x32, 0x35, 0x20, 0x00] + [0x30]
    #expect(Array(bytes[1124..<1181]) == expected)
    let tar = try #require(try parse(bytes))
    #expect(tar.payloadOffset == 1536 && tar.payloadSize == 4_737_695)
  }

  @Test(
    "a pax record's length counts its own digits",
    arguments: [0, 9, 99, 9_999_999, 1 << 40, UInt64(Int64.max) >> 1])
  func recordLength(size: UInt64) throws {
    let text = String(
      decoding: TarWrapper.header(payloadSize: size)[512..<1024].prefix { $0 != 0 }, as: UTF8.self)
    #expect(text.hasSuffix(" size=\(size)\n") && text.hasPrefix("\(text.utf8.count) "))
    let tar = try TarWrapper(
      parsing: TarWrapper.header(payloadSize: size).span.bytes, fileSize: UInt64(Int64.max))
    #expect(tar?.payloadSize == size)
  }

  @Test(
    "an archive ends with zeroes up to a block and two blocks more",
    arguments: [(0, 1024), (1, 1535), (512, 1024), (513, 1535)])
  func ending(size: UInt64, length: Int) {
    #expect(TarWrapper.ending(payloadSize: size) == [UInt8](repeating: 0, count: length))
  }

  @Test("an archive of one file is what Go's archive/tar writes for it")
  func archive() throws {
    let content = Array("hello trace".utf8)
    let archive = TarWrapper.archive(name: "trace", mode: 0o444, content: content)
    // Go 1.19, `tar.Header{Name: "trace", Mode: 0444, Size: 11, Typeflag: tar.TypeReg}`.
    var header = [UInt8](repeating: 0, count: 512)
    for (offset, text) in [
      (0, "trace"), (100, "0000444"), (108, "0000000"), (116, "0000000"), (124, "00000000013"), (136, "00000000000"),
      (148, "010216\0 0"), (257, "ustar\u{0}00"), (329, "0000000"), (337, "0000000"),
    ] {
      header.replaceSubrange(offset..<offset + text.utf8.count, with: text.utf8)
    }
    #expect(archive == header + content + [UInt8](repeating: 0, count: 501 + 1024))
    let tar = try #require(try parse(archive, fileSize: UInt64(archive.count)))
    #expect(tar.payloadOffset == 512 && tar.payloadSize == 11)
  }
}
