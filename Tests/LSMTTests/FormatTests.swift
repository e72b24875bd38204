import LSMT
import Testing

/// The words of a dump in hexadecimal, as bytes.
private func bytes(_ dump: String) -> [UInt8] { dump.split(separator: " ").map { UInt8($0, radix: 16)! } }

@Suite("The bytes of the format")
struct FormatTests {
  private static let size: UInt64 = 64 << 30
  private static let uuid = LayerUUID("c02fb491-0123-4567-89ab-CDEF01234567")!

  @Test("A committed layer's header is the bytes of a real one")
  func header() {
    let header = LayerWriter(virtualSize: Self.size, uuid: Self.uuid, userTag: Array("note".utf8)).header()
    #expect(header.count == 4096)
    let start = bytes(
      """
      4c 53 4d 54 00 01 02 00 65 7e 63 d2 94 44 08 4c a2 d2 c8 ec 4f cf ae 8a 86 01 00 00 07 00 00 00 \
      00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 10 00 00 00 43 30 32 46 42 34 39 31
      """)
    #expect(Array(header[..<64]) == start)
    #expect(Array(header[56..<93]) == Array("C02FB491-0123-4567-89AB-CDEF01234567\0".utf8))
    #expect(Array(header[93..<130]) == Array("00000000-0000-0000-0000-000000000000\0".utf8))
    #expect(Array(header[130..<138]) == [0, 0, 1, 1] + Array("note".utf8))
    #expect(header[138...].allSatisfy { $0 == 0 })
  }

  @Test("A trailer has the index's place, in bytes and entries")
  func trailer() throws {
    let record = LayerRecord(
      flags: 6, indexOffset: 541_798_400, indexCount: 8448, virtualSize: Self.size, uuid: Self.uuid)
    let encoded = record.encoded()
    #expect(
      Array(encoded[28..<48]) == bytes("06 00 00 00 00 30 4b 20 00 00 00 00 00 21 00 00 00 00 00 00"))
    #expect(try LayerRecord(parsing: encoded.span.bytes, as: .trailer) == record)
  }

  @Test(
    "Index entries are the 16 bytes that the format has",
    arguments: [
      (Segment(offset: 0, length: 8, moffset: 8), "00 00 00 00 00 00 20 00 08 00 00 00 00 00 00 00"),
      (
        Segment(offset: 8, length: 16383, moffset: 32, isZeroed: true),
        "08 00 00 00 00 00 fc ff 20 00 00 00 00 00 80 00"
      ),
      (
        Segment(offset: 2048, length: 256, moffset: 24, tag: 3),
        "00 08 00 00 00 00 00 04 18 00 00 00 00 00 00 03"
      ),
      (
        Segment(offset: 8272, length: 120, moffset: 8280, isZeroed: true),
        "50 20 00 00 00 00 e0 01 58 20 00 00 00 00 80 00"
      ),
      (Segment.padding, "ff ff ff ff ff ff 03 00 00 00 00 00 00 00 00 00"),
    ])
  func entries(segment: Segment, dump: String) {
    #expect(segment.encoded == bytes(dump))
    #expect(segment.isPadding == (segment == .padding))
    #expect(segment.end == segment.offset + UInt64(segment.length))
  }

  @Test("An entry keeps the largest values of all its fields apart")
  func entryLimits() {
    let segment = Segment(
      offset: Segment.maxOffset - 1, length: 16383, moffset: Segment.maxMoffset, isZeroed: true, tag: 255)
    #expect(segment.offset == 1 << 50 - 2 && segment.length == 16383 && segment.moffset == 1 << 55 - 1)
    #expect(segment.isZeroed && segment.tag == 255 && segment.end == (1 << 50) - 2 + 16383)
    #expect(segment.encoded == bytes("fe ff ff ff ff ff ff ff ff ff ff ff ff ff ff ff"))
  }

  @Test("UUIDs are read in either case and written in upper case")
  func uuids() {
    #expect(Self.uuid.description == "C02FB491-0123-4567-89AB-CDEF01234567")
    #expect(Self.uuid.bytes == bytes("c0 2f b4 91 01 23 45 67 89 ab cd ef 01 23 45 67"))
    #expect(LayerUUID(bytes: Self.uuid.bytes) == Self.uuid)
    #expect(LayerUUID("00000000-0000-0000-0000-000000000000") == .null && LayerUUID.null.isNull)
    #expect(!Self.uuid.isNull)
    for wrong in ["", "C02FB491-0123-4567-89AB-CDEF0123456", "C02FB491-0123-4567-89AB-CDEF0123456G"] {
      #expect(LayerUUID(wrong) == nil)
    }
    #expect(LayerUUID("C02FB491001230456708-AB-CDEF01234567") == nil)
    #expect(LayerUUID(bytes: [1, 2]) == nil)
  }

  @Test("What is not a UUID reads as null, and versions are not checked")
  func lenientFields() throws {
    var encoded = LayerRecord(flags: 7, virtualSize: 512, uuid: Self.uuid, parentUUID: Self.uuid).encoded()
    encoded[56] = UInt8(ascii: "x")
    encoded[24] = 0
    encoded[130] = 0xff
    encoded[132] = 9
    encoded[133] = 7
    let record = try LayerRecord(parsing: encoded.span.bytes, as: .header)
    #expect(record.uuid.isNull && record.parentUUID == Self.uuid)
    #expect(record.version == 9 && record.subVersion == 7)
  }

  @Test("A message of exactly 256 bytes fits, a longer one is cut")
  func userTags() throws {
    for length in [0, 255, 256, 300] {
      let tag = [UInt8](repeating: 65, count: length)
      let encoded = LayerRecord(flags: 6, virtualSize: 0, userTag: tag).encoded()
      let record = try LayerRecord(parsing: encoded.span.bytes, as: .trailer)
      #expect(record.userTag == Array(tag.prefix(256)))
    }
  }

  @Test("Only the whole magic makes an LSMT file")
  func magic() {
    func isLSMT(_ bytes: [UInt8]) -> Bool { LayerRecord.isLSMT(bytes.span.bytes) }
    let encoded = LayerRecord(flags: 7, virtualSize: 0).encoded()
    #expect(isLSMT(encoded))
    #expect(isLSMT(Array(encoded.prefix(24))))
    #expect(!isLSMT(Array(encoded.prefix(23))))
    for position in 0..<24 {
      var damaged = encoded
      damaged[position] ^= 1
      #expect(!isLSMT(damaged))
    }
  }
}
