/// A member of a gzip file (RFC 1952).
struct Gzip {
  let content: [UInt8]
  /// The header's extra field.
  let extra: [UInt8]
  /// Where the next member begins.
  let end: Int

  /// Reads the member that begins at `start`.
  ///
  /// - Parameter limit: bytes that may come out.
  /// - Throws: `damagedContents`.
  init(_ bytes: [UInt8], at start: Int, limit: Int) throws(FileSystemError) {
    guard let (position, extra) = Self.header(bytes, at: start) else {
      throw .damagedContents("is no gzip at byte \(start)")
    }
    var inflate = Inflate(bytes, from: position, limit: limit)
    try inflate.run()
    guard bytes.count - inflate.end >= 8 else { throw .damagedContents("is compressed, and ends too early") }
    guard bytes.u32(inflate.end) == UInt64(Self.crc(inflate.output)),
      bytes.u32(inflate.end + 4) == UInt64(inflate.output.count) & 0xFFFF_FFFF
    else { throw .damagedContents("has another checksum or length than its gzip says") }
    self.extra = extra
    content = inflate.output
    end = inflate.end + 8
  }

  /// Where the compressed data begins, and the extra field; nil for what is no header.
  private static func header(_ bytes: [UInt8], at start: Int) -> (Int, [UInt8])? {
    guard bytes.count - start >= 10, bytes[start] == 0x1F, bytes[start + 1] == 0x8B, bytes[start + 2] == 8 else {
      return nil
    }
    let flags = bytes[start + 3]
    var position = start + 10
    var extra: [UInt8] = []
    if flags & 4 != 0 {
      guard bytes.count - position >= 2, bytes.count - position - 2 >= bytes.u16(position) else { return nil }
      extra = Array(bytes[position + 2..<position + 2 + bytes.u16(position)])
      position += 2 + extra.count
    }
    // A name and a comment, which end with a zero.
    for flag: UInt8 in [8, 16] where flags & flag != 0 {
      guard let end = bytes[position...].firstIndex(of: 0) else { return nil }
      position = end + 1
    }
    if flags & 2 != 0 { position += 2 }
    return position <= bytes.count ? (position, extra) : nil
  }

  static func crc(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { crc, byte in crc >> 8 ^ table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
  }

  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
  }
}
