/// The end of an eStargz layer: a gzip member without content, whose extra field says where the table of contents is.
enum StargzFooter: Equatable {
  /// The table's byte offset in the layer, and where the footer begins.
  case offset(UInt64, footer: UInt64)
  /// The table is in another image.
  case external

  /// Reads the footer: 51 bytes today, 47 in stargz of old, 46 where the table is elsewhere.
  ///
  /// - Throws: `notStargz`, `read`.
  static func read(_ layer: Disk) throws(FileSystemError) -> StargzFooter {
    let sizes: [(size: UInt64, extra: Int)] = [(51, 26), (46, 21), (47, 22)]
    for (size, extraSize) in sizes where layer.size >= size {
      let bytes = try layer.bytes(at: layer.size - size, count: Int(size))
      guard let member = try? Gzip(bytes, at: 0, limit: 0), member.extra.count == extraSize else { continue }
      var extra = member.extra[...]
      if size != 47 {
        // A subfield `SG`, whose length is that of the rest.
        guard extra.starts(with: [0x53, 0x47, UInt8(extraSize - 4), 0]) else { continue }
        extra = extra.dropFirst(4)
      }
      if size == 46, extra.elementsEqual("STARGZEXTERNALTOC".utf8) { return .external }
      let digits = String(decoding: extra.prefix(16), as: UTF8.self)
      guard extra.dropFirst(16).elementsEqual("STARGZ".utf8), let offset = UInt64(digits, radix: 16) else { continue }
      let footer = layer.size - size
      guard offset < footer else {
        throw .damagedContents("should be at byte \(offset), behind which there is nothing")
      }
      return .offset(offset, footer: footer)
    }
    throw .notStargz(try whatElse(layer))
  }

  private static func whatElse(_ layer: Disk) throws(FileSystemError) -> String {
    guard layer.size >= 4 else { return "it has \(layer.size) bytes" }
    let bytes = try layer.bytes(at: 0, count: 4)
    if bytes.starts(with: [0x1F, 0x8B]) { return "it is a gzip without a table of contents at its end" }
    if bytes == [0x28, 0xB5, 0x2F, 0xFD] { return "it is compressed with Zstandard" }
    return "it is no gzip"
  }
}
