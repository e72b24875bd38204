extension TarWrapper {
  /// An archive of one file, byte for byte as Go's archive/tar writes it without a time of change: numbers in octal with
  /// zeroes in front and a NUL behind, an owner of 0 without a name. The same content always makes the same bytes.
  ///
  /// - Parameters:
  ///   - name: at most 100 bytes of ASCII.
  ///   - mode: permissions.
  ///   - content: less than 8 GiB, the most that a ustar header can say.
  public static func archive(name: String, mode: Int, content: [UInt8]) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: blockSize)
    header.set(name, in: Field.name)
    header.setNumber(mode, in: Field.mode)
    header.setNumber(0, in: Field.uid)
    header.setNumber(0, in: Field.gid)
    header.setNumber(content.count, in: Field.size)
    header.setNumber(0, in: Field.mtime)
    header[Field.type] = UInt8(ascii: "0")
    header.set("ustar", in: Field.magic)
    header.set("00", in: Field.version)
    header.setNumber(0, in: Field.deviceMajor)
    header.setNumber(0, in: Field.deviceMinor)
    // Six digits, a NUL and a blank: the one number that is written otherwise.
    let sum = checksum(of: header[...])
    header.setNumber(sum, in: Field.checksum.lowerBound..<Field.checksum.upperBound - 1)
    header[Field.checksum.upperBound - 1] = UInt8(ascii: " ")
    return header + content + ending(payloadSize: UInt64(content.count))
  }
}

extension [UInt8] {
  fileprivate mutating func setNumber(_ value: Int, in field: Range<Int>) {
    let digits = String(value, radix: 8)
    set(String(repeating: "0", count: field.count - 1 - digits.count) + digits, in: field)
  }
}
