/// Numbers as a trace file has them: little-endian, or seven bits a byte, the lowest first, with the highest bit set in
/// all bytes but the last.
extension [UInt8] {
  /// Adds a little-endian integer.
  mutating func append(little value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  /// Adds a number of seven bits a byte.
  mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(rest))
  }

  /// Adds the way from one number to another: small ones are short, whatever their sign.
  mutating func append(stepFrom start: UInt64, to end: UInt64) {
    let step = Int64(bitPattern: end &- start)
    append(varint: UInt64(bitPattern: step << 1 ^ step >> 63))
  }
}

extension UnsafeRawBufferPointer {
  /// A little-endian integer at any byte offset; the caller has checked the length.
  func little<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type, at offset: Int) -> Integer {
    precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count)
    return Integer(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
  }
}

/// Reads what ``Swift/Array`` was made to hold above; never beyond its bytes.
struct VarintReader {
  private let bytes: UnsafeRawBufferPointer
  /// Where `bytes` begin in the file, for messages.
  private let start: Int
  /// The next byte.
  private(set) var position = 0

  init(_ bytes: UnsafeRawBufferPointer, startingAt start: Int) {
    self.bytes = bytes
    self.start = start
  }

  /// Where the next byte is in the file.
  var offset: Int { start + position }
  /// Whether there is nothing more.
  var isAtEnd: Bool { position == bytes.count }

  /// The next number. A number has one form only, the shortest.
  @inline(__always)
  mutating func varint() throws(TraceError) -> UInt64 {
    if position < bytes.count, bytes[position] < 0x80 {
      position += 1
      return UInt64(bytes[position - 1])
    }
    return try longVarint()
  }

  private mutating func longVarint() throws(TraceError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    let first = offset
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      // The tenth byte has room for one bit.
      if shift == 63, byte > 1 { break }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 {
        if byte == 0 { throw .malformed(offset: first, problem: "a number is longer than it needs to be") }
        return value
      }
      shift += 7
    }
    throw .malformed(offset: first, problem: "a number does not end, or is of more than 64 bits")
  }

  /// A number that ``Swift/Array/append(stepFrom:to:)`` wrote.
  @inline(__always)
  mutating func step(from start: UInt64) throws(TraceError) -> UInt64 {
    let code = try varint()
    return start &+ (code >> 1 ^ (0 &- (code & 1)))
  }

  /// A text of at most `limit` bytes.
  mutating func text(limit: Int) throws(TraceError) -> String {
    let first = offset
    let count = try varint()
    guard count <= limit else {
      throw .malformed(offset: first, problem: "a text has \(count) bytes, the limit is \(limit)")
    }
    guard count <= bytes.count - position else { throw .malformed(offset: first, problem: "a text does not end") }
    let utf8 = bytes[position..<position + Int(count)]
    guard let text = String(validating: utf8, as: UTF8.self) else {
      throw .malformed(offset: first, problem: "a text is not UTF-8")
    }
    position += Int(count)
    return text
  }
}
