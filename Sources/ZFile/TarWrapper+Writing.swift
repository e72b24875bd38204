extension TarWrapper {
  /// Bytes before the layer in an archive that is written here.
  public static let headerSize = 3 * blockSize

  /// What stands before the layer while it is being written: its magic is wrong on purpose, so that an archive whose
  /// writer died is refused rather than misread.
  public static func placeholder() -> [UInt8] {
    let record = paxRecord(payloadSize: 0)
    var pax = [UInt8](repeating: 0, count: blockSize)
    pax.set("overlaybd.pax", in: Field.name)
    pax[Field.type] = UInt8(ascii: "x")
    pax.setOctal(record.count, in: Field.size)
    var entry = [UInt8](repeating: 0, count: blockSize)
    entry.set("overlaybd.new", in: Field.name)
    entry.set("xxtar", in: Field.magic)
    entry.set("xx", in: Field.version)
    return pax + padded(record) + entry
  }

  /// The pax header, its record and the ustar header, as overlaybd's tools write them, byte for byte.
  ///
  /// - Parameter payloadSize: bytes of the layer.
  public static func header(payloadSize: UInt64) -> [UInt8] {
    let record = paxRecord(payloadSize: payloadSize)
    var pax = [UInt8](repeating: 0, count: blockSize)
    pax.set("overlaybd.pax", in: Field.name)
    pax[Field.type] = UInt8(ascii: "x")
    pax.setOctal(record.count, in: Field.size)
    seal(&pax)
    var entry = [UInt8](repeating: 0, count: blockSize)
    entry.set("overlaybd.commit", in: Field.name)
    entry[Field.type] = UInt8(ascii: "0")
    entry.setOctal(0o100644, in: Field.mode)
    entry.setOctal(0, in: Field.uid)
    entry.setOctal(0, in: Field.gid)
    // The size is in the pax record, and a fixed time keeps the blob's digest a function of the layer.
    entry.setOctal(0, in: Field.size)
    entry.setOctal(0, in: Field.mtime)
    entry.set("root", in: Field.userName)
    entry.set("root", in: Field.groupName)
    seal(&entry)
    return pax + padded(record) + entry
  }

  /// What follows the layer: zeroes up to a block's end, and two blocks of zeroes.
  ///
  /// - Parameter payloadSize: bytes of the layer.
  public static func ending(payloadSize: UInt64) -> [UInt8] {
    let tail = Int(payloadSize % UInt64(blockSize))
    return [UInt8](repeating: 0, count: (tail == 0 ? 0 : blockSize - tail) + 2 * blockSize)
  }

  /// "<length> size=<bytes>\n", whose length counts its own digits.
  private static func paxRecord(payloadSize: UInt64) -> [UInt8] {
    let text = " size=\(payloadSize)\n"
    var length = text.utf8.count + 1
    while "\(length)\(text)".utf8.count != length { length += 1 }
    return Array("\(length)\(text)".utf8)
  }

  private static func padded(_ record: [UInt8]) -> [UInt8] {
    record + [UInt8](repeating: 0, count: roundedUp(record.count) - record.count)
  }

  private static func seal(_ header: inout [UInt8]) {
    header.set("ustar", in: Field.magic)
    header.set("00", in: Field.version)
    header.setOctal(checksum(of: header[...]), in: Field.checksum)
  }
}

extension [UInt8] {
  /// Puts a text at the beginning of a field that has room for it.
  mutating func set(_ text: String, in field: Range<Int>) {
    precondition(text.utf8.count <= field.count)
    replaceSubrange(field.lowerBound..<(field.lowerBound + text.utf8.count), with: text.utf8)
  }

  /// Right-aligned octal digits and a space; the short fields have a NUL behind it.
  fileprivate mutating func setOctal(_ value: Int, in field: Range<Int>) {
    let digits = String(value, radix: 8)
    let width = field.count == 8 ? 6 : field.count - 1
    set(String(repeating: " ", count: width - digits.count) + digits + " ", in: field)
  }
}
