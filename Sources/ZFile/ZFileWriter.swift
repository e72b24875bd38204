/// Compresses a stream into a ZFile, as overlaybd's writers do: lz4 with its default acceleration, zstd at level 3.
///
/// The output is strictly sequential. It begins with a provisional header, which readers already accept because the
/// trailer has what it lacks. Where the output can be written again, the header that `finish` returns goes to byte 0,
/// and readers need not look for the trailer any more.
///
/// Blocks of 64 KiB that do not compress cannot be read by overlaybd, whose buffer they overflow; up to 32 KiB all can.
public struct ZFileWriter: ~Copyable {
  private let template: ZFileRecord
  private let encoder: BlockEncoder
  /// Content that does not fill a block yet.
  private let pending: UnsafeMutableRawBufferPointer
  private var pendingCount = 0
  /// Output that was not emitted yet.
  private let output: UnsafeMutableRawBufferPointer
  private var outputCount = 0
  private var lengths: [UInt32] = []
  private var originalSize: UInt64 = 0
  private var storedEnd = UInt64(ZFileRecord.size)

  /// How much output is gathered before it is emitted, in bytes.
  private static let batch = 1 << 20

  /// - Parameters:
  ///   - compression: the codec.
  ///   - blockSize: a power of two from 4096 to 65536, in bytes.
  ///   - checksums: whether a CRC follows each block; overlaybd's tools always write it.
  /// - Throws: `invalidBlockSize`, `outOfMemory`.
  public init(compression: Compression, blockSize: Int, checksums: Bool = true) throws(ZFileError) {
    let size = UInt32(clamping: blockSize)
    guard blockShift(of: size) != nil else { throw .invalidBlockSize(size) }
    encoder = try BlockEncoder(compression, blockSize: blockSize)
    template = ZFileRecord(
      flags: [.header, .data, .digest], indexOffset: 0, indexCount: 0, originalSize: 0, indexChecksum: 0,
      blockSize: size, compression: compression, hasChecksums: checksums)
    pending = .allocate(byteCount: blockSize, alignment: 16)
    output = .allocate(byteCount: Self.batch, alignment: 16)
    output.copyBytes(from: template.encoded())
    outputCount = ZFileRecord.size
  }

  deinit {
    pending.deallocate()
    output.deallocate()
  }

  /// Adds content; `emit` gets output from time to time, in pieces of up to a megabyte.
  public mutating func append<Failure: Error>(
    _ bytes: UnsafeRawBufferPointer, emit: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    var rest = bytes[...]
    if pendingCount > 0 {
      let part = rest.prefix(pending.count - pendingCount)
      fillPending(part)
      rest = rest.dropFirst(part.count)
      guard pendingCount == pending.count else { return }
      pendingCount = 0
      try compress(UnsafeRawBufferPointer(pending), emit: emit)
    }
    while rest.count >= pending.count {
      try compress(UnsafeRawBufferPointer(rebasing: rest.prefix(pending.count)), emit: emit)
      rest = rest.dropFirst(pending.count)
    }
    fillPending(rest)
  }

  /// Emits the tail, the jump table and the trailer; returns the 512 bytes that may replace the first ones of the output.
  ///
  /// Nothing may be appended afterwards.
  public mutating func finish<Failure: Error>(
    emit: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) -> [UInt8] {
    if pendingCount > 0 {
      let tail = UnsafeRawBufferPointer(rebasing: pending[..<pendingCount])
      pendingCount = 0
      try compress(tail, emit: emit)
    }
    try flush(emit)
    let table = lengths.map(\.littleEndian)
    let checksum = table.withUnsafeBytes { crc32cRaw($0, seed: 0) }
    try table.span.bytes.withUnsafeBytes { bytes throws(Failure) in try emit(bytes) }
    let trailer = record(flags: [.data, .sealed, .digest], indexChecksum: checksum).encoded()
    try trailer.span.bytes.withUnsafeBytes { bytes throws(Failure) in try emit(bytes) }
    return record(flags: [.header, .data, .overwritten, .digest], indexChecksum: checksum).encoded()
  }
}

// It has one owner at a time.
extension ZFileWriter: @unchecked Sendable {}

extension ZFileWriter {
  private mutating func fillPending(_ bytes: Slice<UnsafeRawBufferPointer>) {
    UnsafeMutableRawBufferPointer(rebasing: pending[pendingCount...]).copyBytes(from: bytes)
    pendingCount += bytes.count
  }

  private mutating func flush<Failure: Error>(
    _ emit: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    let ready = UnsafeRawBufferPointer(rebasing: output[..<outputCount])
    outputCount = 0
    if !ready.isEmpty { try emit(ready) }
  }

  private mutating func compress<Failure: Error>(
    _ content: UnsafeRawBufferPointer, emit: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    let bound = pending.count + Int(storedExcess)
    if output.count - outputCount < bound { try flush(emit) }
    let target = UnsafeMutableRawBufferPointer(rebasing: output[outputCount..<(outputCount + bound)])
    var length = encoder.encode(
      content, into: UnsafeMutableRawBufferPointer(rebasing: target.dropLast(checksumSize)))
    if template.hasChecksums {
      let checksum = crc32cRaw(UnsafeRawBufferPointer(rebasing: target[..<length]), seed: blockChecksumSeed)
      target.storeBytes(of: checksum.littleEndian, toByteOffset: length, as: UInt32.self)
      length += checksumSize
    }
    lengths.append(UInt32(length))
    outputCount += length
    storedEnd += UInt64(length)
    originalSize += UInt64(content.count)
  }

  /// What the file's records say when all blocks are stored.
  private func record(flags: ZFileRecord.Flags, indexChecksum: UInt32) -> ZFileRecord {
    ZFileRecord(
      flags: flags, indexOffset: storedEnd, indexCount: UInt64(lengths.count), originalSize: originalSize,
      indexChecksum: indexChecksum, blockSize: template.blockSize, compression: template.compression,
      hasChecksums: template.hasChecksums)
  }
}
