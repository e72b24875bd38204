extension RawSpan {
  /// A little-endian integer at any byte offset; the caller has checked the length.
  func little<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type, at offset: Int) -> Integer {
    precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= byteCount)
    return Integer(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: type))
  }
}

extension [UInt8] {
  /// Writes a little-endian integer at any byte offset.
  mutating func store<Integer: FixedWidthInteger & BitwiseCopyable>(_ value: Integer, at offset: Int) {
    withUnsafeMutableBytes { $0.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Integer.self) }
  }
}
