import ZFile

/// The header of a trace file, 80 bytes. <doc:TraceFormat> draws it.
struct TraceHeader: Equatable {
  var deviceSize: UInt64
  var recordedAt: Int64
  var durationMicroseconds: UInt64
  var runs: UInt32
  var layerCount: UInt32
  var accessCount: UInt64
  var bodySize: UInt64
  var bodyChecksum: UInt32

  static let size = 80
  static let version: UInt32 = 1
  static let magic = Array("WBTRACE\n".utf8)
  private static let checksumOffset = 76

  /// The header's bytes.
  func encoded() -> [UInt8] {
    var bytes = Self.magic
    bytes.reserveCapacity(Self.size)
    bytes.append(little: Self.version)
    bytes.append(little: UInt32(Self.size))
    bytes.append(little: deviceSize)
    bytes.append(little: recordedAt)
    bytes.append(little: durationMicroseconds)
    bytes.append(little: runs)
    bytes.append(little: layerCount)
    bytes.append(little: accessCount)
    bytes.append(little: bodySize)
    bytes.append(little: bodyChecksum)
    bytes.append(little: UInt64(0))
    bytes.append(little: bytes.withUnsafeBytes { crc32c($0) })
    return bytes
  }

  /// Parses the header of a whole file, and checks that the file has what the header says.
  init(parsing bytes: UnsafeRawBufferPointer) throws(TraceError) {
    guard bytes.starts(with: Self.magic) else { throw .notAccessTrace }
    guard bytes.count >= 12 else { throw .headerTruncated(found: bytes.count, expected: Self.size) }
    let version = bytes.little(UInt32.self, at: 8)
    guard version == Self.version else { throw .unsupportedVersion(version) }
    guard bytes.count >= Self.size else { throw .headerTruncated(found: bytes.count, expected: Self.size) }
    let checksum = crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<Self.checksumOffset]))
    let expected = bytes.little(UInt32.self, at: Self.checksumOffset)
    guard checksum == expected else { throw .headerChecksumMismatch(found: checksum, expected: expected) }
    guard bytes.little(UInt32.self, at: 12) == Self.size, bytes.little(UInt64.self, at: 68) == 0 else {
      throw .malformed(offset: 12, problem: "the header is not of \(Self.size) bytes with the last 8 unused")
    }
    deviceSize = bytes.little(UInt64.self, at: 16)
    recordedAt = bytes.little(Int64.self, at: 24)
    durationMicroseconds = bytes.little(UInt64.self, at: 32)
    runs = bytes.little(UInt32.self, at: 40)
    layerCount = bytes.little(UInt32.self, at: 44)
    accessCount = bytes.little(UInt64.self, at: 48)
    bodySize = bytes.little(UInt64.self, at: 56)
    bodyChecksum = bytes.little(UInt32.self, at: 64)
    try checkCounts(UInt64(bytes.count - Self.size))
  }

  init(of trace: AccessTrace, body: UnsafeRawBufferPointer) {
    deviceSize = trace.deviceSize
    recordedAt = trace.recordedAt
    durationMicroseconds = trace.durationMicroseconds
    runs = trace.runs
    layerCount = UInt32(trace.layers.count)
    accessCount = UInt64(trace.accesses.count)
    bodySize = UInt64(body.count)
    bodyChecksum = crc32c(body)
  }

  private func checkCounts(_ found: UInt64) throws(TraceError) {
    guard bodySize == found else { throw .bodySizeMismatch(found: found, expected: bodySize) }
    guard layerCount <= AccessTrace.layersMax else {
      throw .tooMany("layers", count: UInt64(layerCount), limit: AccessTrace.layersMax)
    }
    guard accessCount <= AccessTrace.accessesMax else {
      throw .tooMany("accesses", count: accessCount, limit: AccessTrace.accessesMax)
    }
    // So that memory is only taken for what can be there.
    guard accessCount * UInt64(AccessTrace.recordSizeMin) <= bodySize else {
      throw .malformed(offset: 48, problem: "\(accessCount) accesses do not fit into \(bodySize) bytes")
    }
    guard runs > 0 else { throw .malformed(offset: 40, problem: "it is of 0 runs") }
  }
}

/// The ordinary CRC-32C: with the inversions that overlaybd's leaves out, so that zeroes at the start count too.
func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 { ~crc32cRaw(bytes, seed: ~0) }
