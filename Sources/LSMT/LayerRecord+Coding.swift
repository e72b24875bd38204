extension LayerRecord {
  /// The first 24 bytes of every record: "LSMT", format bytes, and a fixed UUID.
  public static let magic: [UInt8] = [
    0x4c, 0x53, 0x4d, 0x54, 0x00, 0x01, 0x02, 0x00, 0x65, 0x7e, 0x63, 0xd2, 0x94, 0x44, 0x08, 0x4c, 0xa2,
    0xd2, 0xc8,
    0xec, 0x4f, 0xcf, 0xae, 0x8a,
  ]

  /// Bytes of the structure; the rest of the 4096 is zero. Stored, but no reader checks it.
  private static let structureSize: UInt32 = 390

  private enum Field {
    static let size = 24
    static let flags = 28
    static let indexOffset = 32
    static let indexCount = 40
    static let virtualSize = 48
    static let uuid = 56
    static let parentUUID = 93
    static let version = 132
    static let subVersion = 133
    static let userTag = 134
  }

  /// Whether a file that begins with `prefix` is an LSMT file; needs at least 24 bytes to say yes.
  public static func isLSMT(_ prefix: RawSpan) -> Bool {
    guard prefix.byteCount >= magic.count else { return false }
    return prefix.bytes(at: 0, count: magic.count) == magic
  }

  /// Reads a record of at least ``size`` bytes.
  ///
  /// Checked are the length, the magic and whether it is a header or a trailer as expected; neither the version
  /// nor the stored structure size, which no reader of the format checks. A UUID that is none reads as null.
  public init(parsing bytes: RawSpan, as role: Role) throws(LSMTError) {
    guard bytes.byteCount >= Self.size else { throw .recordTruncated(role: role, found: bytes.byteCount) }
    guard Self.isLSMT(bytes) else {
      throw .badMagic(role: role, found: bytes.bytes(at: 0, count: Self.magic.count))
    }
    let flags = bytes.littleEndian(at: Field.flags, as: UInt32.self)
    guard (flags & Flag.header != 0) == (role == .header) else {
      throw .wrongRole(expected: role, flags: flags)
    }
    self.flags = flags
    indexOffset = bytes.littleEndian(at: Field.indexOffset, as: UInt64.self)
    indexCount = bytes.littleEndian(at: Field.indexCount, as: UInt64.self)
    virtualSize = bytes.littleEndian(at: Field.virtualSize, as: UInt64.self)
    uuid = LayerUUID(ascii: bytes.bytes(at: Field.uuid, count: LayerUUID.textLength)) ?? .null
    parentUUID = LayerUUID(ascii: bytes.bytes(at: Field.parentUUID, count: LayerUUID.textLength)) ?? .null
    version = bytes.littleEndian(at: Field.version, as: UInt8.self)
    subVersion = bytes.littleEndian(at: Field.subVersion, as: UInt8.self)
    let tag = bytes.bytes(at: Field.userTag, count: Self.userTagCapacity)
    userTag = Array(tag.prefix((tag.lastIndex { $0 != 0 } ?? -1) + 1))
  }

  /// The ``size`` bytes of the record.
  public func encoded() -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: Self.size)
    func store(_ value: some FixedWidthInteger, at offset: Int) {
      withUnsafeBytes(of: value.littleEndian) { store(Array($0), at: offset) }
    }
    func store(_ content: [UInt8], at offset: Int) {
      bytes.replaceSubrange(offset..<offset + content.count, with: content)
    }
    store(Self.magic, at: 0)
    store(Self.structureSize, at: Field.size)
    store(flags, at: Field.flags)
    store(indexOffset, at: Field.indexOffset)
    store(indexCount, at: Field.indexCount)
    store(virtualSize, at: Field.virtualSize)
    store(Array(uuid.description.utf8), at: Field.uuid)
    store(Array(parentUUID.description.utf8), at: Field.parentUUID)
    store(version, at: Field.version)
    store(subVersion, at: Field.subVersion)
    store(Array(userTag.prefix(Self.userTagCapacity)), at: Field.userTag)
    return bytes
  }
}

extension RawSpan {
  /// The little-endian integer at `offset`, which must lie within the span.
  func littleEndian<Value: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: Value.Type) -> Value {
    precondition(offset >= 0 && offset <= byteCount - MemoryLayout<Value>.size)
    return Value(littleEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: type))
  }

  /// A copy of `count` bytes at `offset`, which must lie within the span.
  func bytes(at offset: Int, count: Int) -> [UInt8] {
    extracting(offset..<offset + count).withUnsafeBytes { Array($0) }
  }
}
