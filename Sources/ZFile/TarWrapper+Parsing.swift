extension TarWrapper {
  /// Looks for a tar header; nil if there is none, which means that the file is the layer itself.
  ///
  /// As overlaybd does, only POSIX headers with a right checksum count ("ustar", version "00"), not GNU's. Unlike
  /// overlaybd, which takes byte 1536 for granted once it has seen a pax header, the headers' own sizes say where the
  /// layer begins; for all that its writers make this is the same.
  ///
  /// - Parameters:
  ///   - prefix: the file's first `prefixSize` bytes, or all if there are fewer.
  ///   - fileSize: bytes of the file.
  /// - Throws: `malformedTar`, `tarPayloadOutOfBounds`.
  public init?(parsing prefix: RawSpan, fileSize: UInt64) throws(ZFileError) {
    let bytes = prefix.extracting(first: Self.prefixSize).withUnsafeBytes { [UInt8]($0) }
    guard let first = TarHeader(bytes, at: 0), first.isPOSIX, first.hasRightChecksum else { return nil }
    var header = first
    var extendedSize: UInt64 = 0
    while header.isExtension {
      let content = try header.extensionContent(in: bytes)
      if header.isPax, let size = try header.paxSize(in: bytes[content]) { extendedSize = size }
      let next = content.lowerBound + Self.roundedUp(content.count)
      guard let following = TarHeader(bytes, at: next) else {
        throw .malformedTar(offset: next, problem: .tooLong)
      }
      guard following.hasRightChecksum else { throw .malformedTar(offset: next, problem: .checksum) }
      header = following
    }
    let ownSize = try header.size()
    payloadOffset = UInt64(header.offset + Self.blockSize)
    payloadSize = extendedSize > 0 ? extendedSize : ownSize
    guard payloadOffset <= fileSize, payloadSize <= fileSize - payloadOffset else {
      throw .tarPayloadOutOfBounds(offset: payloadOffset, size: payloadSize, fileSize: fileSize)
    }
  }

  /// Up to the next block.
  static func roundedUp(_ size: Int) -> Int { (size + blockSize - 1) / blockSize * blockSize }

  /// A header's checksum as POSIX wants it: the sum of its bytes with the checksum field taken as spaces.
  static func checksum(of header: ArraySlice<UInt8>) -> Int {
    var sum = Field.checksum.count * Int(UInt8(ascii: " "))
    for (i, byte) in header.enumerated() where !Field.checksum.contains(i) { sum += Int(byte) }
    return sum
  }
}

/// One 512-byte header.
private struct TarHeader {
  let offset: Int
  private let bytes: ArraySlice<UInt8>

  init?(_ file: [UInt8], at offset: Int) {
    guard offset <= file.count - TarWrapper.blockSize else { return nil }
    self.offset = offset
    bytes = file[offset..<(offset + TarWrapper.blockSize)]
  }

  private func field(_ range: Range<Int>) -> ArraySlice<UInt8> {
    bytes[(offset + range.lowerBound)..<(offset + range.upperBound)]
  }

  var isPOSIX: Bool {
    field(TarWrapper.Field.magic).elementsEqual("ustar".utf8)
      && field(TarWrapper.Field.version).elementsEqual("00".utf8)
  }

  private var type: UInt8 { bytes[offset + TarWrapper.Field.type] }
  var isPax: Bool { type == UInt8(ascii: "x") || type == UInt8(ascii: "g") }
  var isExtension: Bool { isPax || type == UInt8(ascii: "L") || type == UInt8(ascii: "K") }

  /// Some old writers summed signed bytes up; both sums are accepted.
  var hasRightChecksum: Bool {
    guard let stored = octal(field(TarWrapper.Field.checksum)) else { return false }
    let sum = TarWrapper.checksum(of: bytes)
    let large =
      bytes.filter { $0 >= 0x80 }.count - field(TarWrapper.Field.checksum).filter { $0 >= 0x80 }.count
    return stored == UInt64(sum) || (sum >= 256 * large && stored == UInt64(sum - 256 * large))
  }

  /// The size field: octal, or base-256 where that was too short for the writer.
  func size() throws(ZFileError) -> UInt64 {
    let field = field(TarWrapper.Field.size)
    let value = field.first == 0x80 ? base256(field.dropFirst()) : octal(field)
    guard let value, value <= UInt64(Int64.max) else { throw .malformedTar(offset: offset, problem: .number) }
    return value
  }

  /// Where an extension's content lies in the file's first bytes.
  func extensionContent(in file: [UInt8]) throws(ZFileError) -> Range<Int> {
    let start = offset + TarWrapper.blockSize
    let size = try size()
    guard size <= UInt64(file.count - start) else { throw .malformedTar(offset: offset, problem: .tooLong) }
    return start..<(start + Int(size))
  }

  /// The value of "size" among pax records, each of which is "<its length> <key>=<value>\n".
  func paxSize(in records: ArraySlice<UInt8>) throws(ZFileError) -> UInt64? {
    let malformed = ZFileError.malformedTar(offset: offset, problem: .paxRecord)
    var found: UInt64?
    var rest = records
    while !rest.isEmpty {
      guard let space = rest.firstIndex(of: UInt8(ascii: " ")),
        let length = decimal(rest[..<space]), length <= UInt64(rest.count),
        length > UInt64(space - rest.startIndex + 1)
      else { throw malformed }
      let record = rest[(space + 1)..<(rest.startIndex + Int(length))]
      guard record.last == UInt8(ascii: "\n"), let equals = record.firstIndex(of: UInt8(ascii: "=")) else {
        throw malformed
      }
      if record[..<equals].elementsEqual("size".utf8) {
        guard let size = decimal(record[(equals + 1)...].dropLast()), size <= UInt64(Int64.max) else {
          throw malformed
        }
        found = size
      }
      rest = rest.dropFirst(Int(length))
    }
    return found
  }
}

/// An octal field: spaces, digits, and then a space, a NUL or the end. Without digits it is 0.
private func octal(_ field: ArraySlice<UInt8>) -> UInt64? {
  let text = field.drop { $0 == UInt8(ascii: " ") }
  let digits = text.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "7") }
  // A field has at most 12 digits, that is 36 bits.
  let value = digits.reduce(UInt64(0)) { $0 << 3 | UInt64($1 - UInt8(ascii: "0")) }
  guard let end = text.dropFirst(digits.count).first else { return value }
  return end == 0 || end == UInt8(ascii: " ") ? value : nil
}

private func base256(_ field: ArraySlice<UInt8>) -> UInt64? {
  var value: UInt64 = 0
  for byte in field {
    guard value >> 56 == 0 else { return nil }
    value = value << 8 | UInt64(byte)
  }
  return value
}

private func decimal(_ text: ArraySlice<UInt8>) -> UInt64? {
  guard !text.isEmpty, text.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else {
    return nil
  }
  return UInt64(String(decoding: text, as: UTF8.self))
}
